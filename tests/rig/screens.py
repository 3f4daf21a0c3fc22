"""`make screens`: a picture of every screen, each by its real cause, and the sheet of all that docs/SCREENS.md shows.

SCREENS_LANGUAGES="ja en" takes more languages; SCREENS_DIR says where the single pictures go.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jpkireset.gateway.v1.reason_pb2 import Reason
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Error as PageError

from tests.rig.browser import chromium
from tests.rig.interrupt import end_in_order
from tests.rig.looks import prefer
from tests.rig.process import ROOT, RigError
from tests.rig.progress import Progress
from tests.rig.scenarios import SCENARIOS
from tests.rig.scenarios.table import Scenario
from tests.rig.site import Site
from tests.rig.stage import Stage, screen_of, stack_of
from tests.rig.visitor import Look, Visitor, codes

DEFAULT_DIRECTORY = ".run-screens"
SHEET = ROOT / "docs/screens/contact-sheet.png"
PAGE = ROOT / "docs/SCREENS.md"
ORIGINAL = "ja"
# A reason that a citizen never meets as an ending, because it is seen before anybody could begin.
SEEN_BEFORE = {"CARD_LEFT_BEHIND": "card_left_behind"}
COLUMNS, THUMBNAIL, MARGIN, CAPTION = 7, (256, 192), 10, 30  # pixels
COLOURS = 256
INK, PAPER, LINE = "#1b1f27", "#f3f5f9", "#b8c0cc"


@dataclass(frozen=True)
class Picture:
    """One screen, and the visit it was taken in."""

    look: Look
    scenario: Scenario
    file: Path


class Photographer:
    """Takes a picture of every screen it has not seen, in each language."""

    def __init__(self, directory: Path, languages: list[str]) -> None:
        self._directory = directory
        self._languages = languages
        self.scenario = SCENARIOS[0]
        self.pictures: dict[Look, Picture] = {}

    def __call__(self, visitor: Visitor) -> None:
        """See `Visitor.seen`."""
        look = visitor.look
        if look in self.pictures:
            return
        words = [f"{len(self.pictures) + 1:03}", look.name, look.code, look.part, look.stage and f"stage{look.stage}"]
        name = "-".join(filter(None, words))
        for language in [each for each in self._languages if each != ORIGINAL] if look.name != "page_in_use" else []:
            prefer(visitor.page, f"language-{language}")
            visitor.page.screenshot(path=self._directory / language / f"{name}.png")
        if look.name != "page_in_use":
            prefer(visitor.page, f"language-{ORIGINAL}")
        file = self._directory / ORIGINAL / f"{name}.png"
        visitor.page.screenshot(path=file)
        self.pictures[look] = Picture(look, self.scenario, file)


def missing(pictures: list[Look]) -> list[str]:
    """The proto's reasons of which there is no picture."""
    code_of, seen, names = codes(), {look.code for look in pictures}, {look.name for look in pictures}
    reasons = [name.removeprefix("REASON_") for name, number in Reason.items() if number]
    return [one for one in reasons if code_of[one] not in seen and SEEN_BEFORE.get(one) not in names]


def contact_sheet(pictures: list[Picture], file: Path) -> None:
    """Lay all pictures out on one sheet, in the order in which people meet them."""
    rows = -(-len(pictures) // COLUMNS)
    width, height = THUMBNAIL[0] + MARGIN, THUMBNAIL[1] + CAPTION + MARGIN
    sheet = Image.new("RGB", (COLUMNS * width + MARGIN, rows * height + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, picture in enumerate(pictures):
        x, y = MARGIN + number % COLUMNS * width, MARGIN + number // COLUMNS * height
        with Image.open(picture.file) as whole:
            sheet.paste(whole.convert("RGB").resize(THUMBNAIL, Image.Resampling.LANCZOS), (x, y))
        draw.rectangle((x, y, x + THUMBNAIL[0], y + THUMBNAIL[1]), outline=LINE)
        look = picture.look
        caption = " ".join(filter(None, (look.code, look.name, look.part, look.stage and f"stage {look.stage}")))
        draw.text((x, y + THUMBNAIL[1] + 6), caption, INK, font)
    file.parent.mkdir(exist_ok=True)
    sheet.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)


def page() -> str:
    """Return docs/SCREENS.md: what is shown when, from the table of scenarios."""
    rows = [f"| `{one.name}` | {one.cause} | {', '.join(f'`{each}`' for each in one.reasons)} |" for one in SCENARIOS]
    return "\n".join(
        [
            "<!-- Made by `make screens`; edits are lost. -->",
            "",
            "# The screens",
            "",
            "Every screen of the kiosk, taken in Debian's Chromium before the whole stack: each ending came about by",
            "its real cause. The code below a picture stands small in the screen's corner, too.",
            "",
            f"![Every screen of the kiosk]({SHEET.relative_to(PAGE.parent)})",
            "",
            "The same visits are tests (`tests/screen/`), where every screen is also judged by axe and measured, in",
            "Japanese and English and on all three panels. With `LONG_SCREENS=1` they are in every language, size and",
            "theme, with furigana and in easy Japanese. They stand in `tests/rig/scenarios/`.",
            "",
            "| Visit | What happens | Reasons it shows |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Take all pictures: 0 when every reason has one."""
    end_in_order()
    directory = Path(os.environ.get("SCREENS_DIR") or DEFAULT_DIRECTORY).resolve()
    languages = (os.environ.get("SCREENS_LANGUAGES") or ORIGINAL).split()
    progress = Progress()
    photographer = Photographer(directory, languages)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        site = Site.make(Path(scratch) / "site")
        with (
            chromium(Path(scratch) / "profile") as browser,
            stack_of(site, Path(scratch) / "stack") as stack,
            screen_of(stack) as screen,
        ):
            progress.done("everything serves")
            stage = Stage(stack, screen, browser)
            for scenario in SCENARIOS:
                photographer.scenario = scenario
                before = len(photographer.pictures)
                try:
                    with stage.visit(photographer) as visitor:
                        scenario.play(visitor)
                except (AssertionError, RigError, PageError) as error:
                    failed.append(scenario.name)
                    progress.failed(f"{scenario.name}: {error}")
                else:
                    progress.done(f"{scenario.name}: {len(photographer.pictures) - before} new pictures")
    pictures = list(photographer.pictures.values())
    without = missing([picture.look for picture in pictures])
    for reason in without:
        progress.failed(f"no picture of {reason}")
    if failed or without:
        return 1
    contact_sheet(pictures, SHEET)
    PAGE.write_text(page(), encoding="utf-8")
    progress.note(f"\n{len(pictures)} pictures in {os.path.relpath(directory)}, {os.path.relpath(SHEET)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
