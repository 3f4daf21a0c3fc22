"""Pictures of every screen, to be looked at: `python -m tests.unit.clients.kiosk.gallery DIR [--languages ja,en] …`.

It renders the templates without a server and without the page's program, with Debian's Chromium, and says where a
text or a control leaves its place.
"""

from __future__ import annotations

import argparse
import fnmatch
import mimetypes
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jpki_kiosk
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.unit.clients.kiosk.scenes import PANELS, SCENES

ORIGIN = "http://kiosk.test"
PACKAGE = Path(jpki_kiosk.__file__).parent
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# What the page's program would do to a screen of secrets: (scene, name of the picture's variant) → script.
_TYPE = """(length) => { for (const entry of document.querySelectorAll('[data-entry]')) entry.textContent = '●'.repeat(length);
  for (const line of document.querySelectorAll('[data-length]')) line.textContent = length; }"""
_PANEL = """(name) => { for (const panel of document.querySelectorAll('[data-panel]:not(body)'))
  panel.hidden = panel.dataset.panel !== name; }"""

# Everything that is out of the window, cut off, or laid over another control.
FAULTS = """() => {
  const faults = [];
  const name = (e) => e.tagName.toLowerCase() + (e.className.baseVal ?? e.className).toString().trim().replace(/^|\\s+/g, '.') + ' "' + (e.textContent || '').trim().slice(0, 24) + '"';
  const seen = (e) => e.checkVisibility({visibilityProperty: true}) && !e.closest('.spoken, [popover], template');
  const root = document.querySelector('#screen');
  const inside = (r, box) => r.left >= box.left - 1 && r.right <= box.right + 1 && r.top >= box.top - 1 && r.bottom <= box.bottom + 1;
  const view = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
  for (const e of root.querySelectorAll('*')) {
    if (!seen(e) || e.closest('svg') && e.tagName !== 'svg') continue;
    const r = e.getBoundingClientRect();
    if (!r.width || !r.height) continue;
    if (!inside(r, view)) faults.push('out of the window: ' + name(e));
    if (e.matches('button, main, footer, header, .say, .do, .row, li') && (e.scrollWidth > e.clientWidth + 2 || e.scrollHeight > e.clientHeight + 2) && getComputedStyle(e).display !== 'contents')
      faults.push('overflows: ' + name(e) + ' ' + [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]);
  }
  const boxes = [...root.querySelectorAll('button, p, dd, dt, h1, h2, li > span, .picture, .entry')].filter(seen).map((e) => [e, e.getBoundingClientRect()]);
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, r] = boxes[i], [b, s] = boxes[j];
    if (a.contains(b) || b.contains(a)) continue;
    const w = Math.min(r.right, s.right) - Math.max(r.left, s.left), h = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
    if (w > 2 && h > 2) faults.push('over each other: ' + name(a) + ' and ' + name(b));
  }
  return faults;
}"""


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
    if variant in ("again", "confirm", "mismatch"):
        page.evaluate(_PANEL, "confirm" if variant == "confirm" else "again")
    if variant in ("typed", "again", "confirm", "mismatch"):
        page.evaluate(_TYPE, 3 if page.query_selector("pin-pad") else 16)
        page.evaluate("() => document.querySelectorAll('[data-rule]').forEach((e, i) => e.dataset.met = i < 2)")
        page.evaluate("() => document.querySelectorAll('[data-weak]').forEach((e) => e.hidden = false)")
    if variant == "mismatch":
        page.evaluate("() => document.querySelectorAll('[data-mismatch]').forEach((e) => e.hidden = false)")
    if variant == "warning":
        page.evaluate("() => { const w = document.querySelector('#warning'); w.hidden = false; w.querySelector('[data-countdown]').textContent = 29; }")


def answer(route: Route) -> None:
    """Serve the package's own files."""
    path = PACKAGE / route.request.url.removeprefix(f"{ORIGIN}/")
    if path.suffix == ".js" or not path.is_file():
        route.fulfill(status=204, body="")
    else:
        route.fulfill(body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "font/woff2")


def shoot(browser: Browser, shots: Sequence[Shot], directory: Path | None) -> Iterator[tuple[Shot, list[str]]]:
    """Take the pictures, and yield what is wrong with each."""
    renderers = {panel: Renderer(panel=panel) for panel in PANELS}
    pages: dict[str, Page] = {}
    for shot in shots:
        width, height = PANELS[shot.panel]
        if shot.panel not in pages:
            pages[shot.panel] = browser.new_page(viewport={"width": width, "height": height})
            pages[shot.panel].route("**", answer)
            pages[shot.panel].goto(f"{ORIGIN}/static/css/kiosk.css")
        page = pages[shot.panel]
        document = renderers[shot.panel].document(SCENES[shot.scene], shot.preferences, token="")
        page.set_content(document, wait_until="load")
        page.evaluate("() => document.fonts.ready.then(() => null)")
        act(page, shot.variant)
        if directory:
            page.screenshot(path=directory / shot.name, animations="disabled")
        yield shot, page.evaluate(FAULTS)


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
        Shot(scene, variant, panel, Preferences(language.split("+")[0], language.endswith("+easy"), options.furigana, size, theme))
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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        for shot, faults in shoot(browser, shots, options.directory):
            faulty += bool(faults)
            for fault in faults:
                print(f"{shot.name}: {fault}")
        browser.close()
    print(f"{len(shots)} screens, {faulty} with faults")
    return bool(faulty)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
