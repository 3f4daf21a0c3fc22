"""What everybody can see, reach and read of a screen: measured on the page as Chromium draws it, and judged by axe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.rig.browser import PANELS, pixels
from tests.rig.process import ROOT

MEASURE = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")
AXE = ROOT / "tests/foreign/node_modules/axe-core/axe.min.js"
LIMITS = {
    "targetMm": 15.0,
    "primaryMm": 20.0,
    "gapMm": 3.0,
    "commitGapMm": 6.0,  # between what commits and what cancels
    "textContrast": 7.0,  # WCAG 2.2, 1.4.6
    "shapeContrast": 3.0,  # 1.4.11
    # Cap heights. EN 301 549, 5.1.4 asks for 0.7 degrees: 6.1 mm at 500 mm, which most screens have; 4.9 mm at 400 mm,
    # which all sentences have, on the fullest screen of the lowest panel, too. Keys and notes need not.
    "sentenceMm": 4.9,
    "letterMm": 4.0,
    "smallLetterMm": 3.55,  # of the tools' names and of the official terms beside a translation
}
PREFER = """async (press) => {
  const token = document.querySelector('meta[name="page-token"]').content;
  await fetch(`/press/${press}`, { method: "POST", headers: { "X-Page-Token": token, "X-View": "0" } });
}"""
TURN = """(panel) => {
  document.body.dataset.panel = panel;
  dispatchEvent(new Event("resize"));
}"""
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"], preload: false })).violations
  .map(({ id, nodes }) => `axe ${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`)"""


def measured(page: Page, panel: str) -> list[str]:
    """What is wrong with the screen as it is drawn on a panel; empty is good."""
    found: list[str] = page.evaluate(f"({MEASURE})({{pixelsPerMm: {PANELS[panel]}, ...{LIMITS}}})")
    return [f"{panel}: {problem}" for problem in found]


def judged(page: Page) -> list[str]:
    """What axe finds wrong."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(RUN_AXE)
    return found


@contextmanager
def on_panel(page: Page, panel: str) -> Iterator[None]:
    """The same page on another panel, while the context lasts."""
    before: Any = page.viewport_size
    usual = page.evaluate("document.body.dataset.panel")
    width, height = pixels(panel)
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(TURN, panel)
    try:
        yield
    finally:
        page.set_viewport_size(before)
        page.evaluate(TURN, usual)


def prefer(page: Page, press: str) -> None:
    """Press a language, a size, a theme or a switch without its menu, and wait until it is drawn."""
    kind, _, value = press.partition("-")
    switch = f"#screen [data-press={press}]"
    on = page.locator(switch).first.get_attribute("aria-pressed") == "true" if not value else False
    page.evaluate(PREFER, press)
    wanted = {
        "language": f'html[lang="{value.replace("_", "-")}"]',
        "size": f'body[data-size="{value}"]',
        "theme": f'body[data-theme="{value}"]',
    }.get(kind, f'{switch}[aria-pressed="{"false" if on else "true"}"]')
    page.wait_for_selector(wanted, state="attached")


def examined(page: Page, panels: Sequence[str] = tuple(PANELS)) -> list[str]:
    """Everything that is wrong with the screen: by axe on the first panel, by measure on all."""
    problems = judged(page)
    for panel in panels:
        with on_panel(page, panel):
            problems += measured(page, panel)
    return problems
