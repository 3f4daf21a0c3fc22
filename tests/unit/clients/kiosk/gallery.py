"""Pictures of every screen, to be looked at: `python -m tests.unit.clients.kiosk.gallery DIR [--languages ja,en] …`.

It renders the templates without a server, and fits their text as the page does, with Debian's Chromium, and says where
a text or a control leaves its place.
"""

from __future__ import annotations

import argparse
import fnmatch
import mimetypes
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright

import jpki_kiosk
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from tests.rig.browser import ARGUMENTS, PROGRAM
from tests.rig.looks import measured
from tests.unit.clients.kiosk.scenes import PANELS, SCENES

ORIGIN = "http://kiosk.test"
PACKAGE = Path(jpki_kiosk.__file__).parent
FAULTS = Path(__file__).with_name("faults.js").read_text(encoding="utf-8").rstrip().rstrip(";")

# What the page's program would do to a screen of secrets.
TYPE = """(length) => {
  for (const entry of document.querySelectorAll('[data-entry]')) entry.textContent = '●'.repeat(length);
  for (const mark of document.querySelectorAll('[data-length]')) mark.textContent = length;
  const ready = length === (document.querySelector('pin-pad') ? 4 : 16);
  document.querySelectorAll('[data-next], [data-confirm]').forEach((button) => (button.disabled = !ready));
  document.querySelectorAll('[data-rule]').forEach((rule) => (rule.dataset.met = true));
}"""
REVEAL = "(selector) => document.querySelectorAll(selector).forEach((mark) => (mark.hidden = false))"
TURN = """(name) => {
  for (const panel of document.querySelectorAll('.panel')) panel.hidden = panel.dataset.panel !== name;
}"""
FIT = 'async () => (await import("/static/js/fit.js")).fitAnew(document.body)'
COUNT = "() => document.querySelectorAll('[data-countdown]').forEach((mark) => (mark.textContent = 29))"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to take."""

    scene: str
    variant: str  # "" or what the program of the page would have done
    panel: str
    preferences: Preferences

    @property
    def name(self) -> str:
        """The picture's file name."""
        it = self.preferences
        words = [self.scene, self.variant, it.language, "easy" if it.easy else "", "furigana" if it.furigana else ""]
        looks = [self.panel, it.size if it.size != "standard" else "", it.theme if it.theme != "standard" else ""]
        return "-".join(part for part in (*words, *looks) if part) + ".png"


def variants(scene: str) -> tuple[str, ...]:
    """Return in how many ways a scene looks."""
    if scene == "new_password":
        return ("", "typed", "again", "mismatch", "confirm", "warning")
    return ("", "typed") if scene == "user_pin" else ("",)


def act(page: Page, variant: str) -> None:
    """Do what the program of the page would have done."""
    if variant in ("again", "mismatch", "confirm"):
        page.evaluate(TURN, "confirm" if variant == "confirm" else "again")
    if variant in ("typed", "again", "mismatch", "confirm"):
        page.evaluate(TYPE, 4 if page.query_selector("pin-pad") else 16)
    if variant in ("typed", "mismatch"):
        page.evaluate(REVEAL, "[data-weak]" if variant == "typed" else "[data-mismatch]")
    if variant == "warning":
        page.evaluate(COUNT)
        page.evaluate(REVEAL, "#warning")


def answer(route: Route) -> None:
    """Serve the package's own files."""
    path = PACKAGE / route.request.url.removeprefix(f"{ORIGIN}/")
    if path.name == "page.js" or not path.is_file():
        route.fulfill(status=204, body="")
    else:
        route.fulfill(body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "font/woff2")


def opened(page: Page) -> Page:
    """Stand before the package's own files."""
    page.route("**", answer)
    page.goto(f"{ORIGIN}/static/css/kiosk.css")
    return page


def draw(page: Page, renderer: Renderer, shot: Shot) -> None:
    """Draw a screen, and fit its text, as the program of the page would have done."""
    page.set_content(renderer.document(SCENES[shot.scene], shot.preferences, token=""), wait_until="load")
    page.evaluate("() => document.fonts.ready.then(() => null)")
    act(page, shot.variant)
    page.evaluate(FIT)


def shoot(browser: Browser, shots: Sequence[Shot], directory: Path | None) -> Iterator[tuple[Shot, list[str]]]:
    """Take the pictures, and yield what is wrong with each."""
    renderers = {panel: Renderer(panel=panel) for panel in PANELS}
    pages: dict[str, Page] = {}
    for shot in shots:
        width, height = PANELS[shot.panel]
        if shot.panel not in pages:
            pages[shot.panel] = opened(browser.new_page(viewport={"width": width, "height": height}))
        page = pages[shot.panel]
        draw(page, renderers[shot.panel], shot)
        if directory:
            page.screenshot(path=directory / shot.name, animations="disabled")
        yield shot, page.evaluate(FAULTS) + measured(page, shot.panel)


def main(arguments: Sequence[str]) -> int:
    """Take the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--scenes", default="*")
    parser.add_argument("--languages", default="ja")
    parser.add_argument("--panels", default=",".join(PANELS))
    parser.add_argument("--sizes", default="standard")
    parser.add_argument("--themes", default="standard")
    parser.add_argument("--furigana", action="store_true")
    options = parser.parse_args(arguments)
    shots = [
        Shot(
            scene,
            variant,
            panel,
            Preferences(language.split("+")[0], language.endswith("+easy"), options.furigana, size, theme),
        )
        for panel in options.panels.split(",")
        for scene in SCENES
        if any(fnmatch.fnmatch(scene, pattern) for pattern in options.scenes.split(","))
        for variant in variants(scene)
        for language in options.languages.split(",")
        for size in options.sizes.split(",")
        for theme in options.themes.split(",")
    ]
    if options.directory:
        options.directory.mkdir(parents=True, exist_ok=True)
    faulty = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        for shot, faults in shoot(browser, shots, options.directory):
            faulty += bool(faults)
            for fault in faults:
                print(f"{shot.name}: {fault}")
        browser.close()
    print(f"{len(shots)} screens, {faulty} with faults")
    return bool(faulty)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
