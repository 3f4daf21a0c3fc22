"""Text as large as there is room for, in whatever language: the templates and the page's own modules, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from jpki_kiosk.texts import Catalogues, Text
from tests.rig.browser import ARGUMENTS, PROGRAM
from tests.rig.looks import measured, on_panel
from tests.unit.clients.kiosk.gallery import FAULTS, FIT, ORIGIN, Shot, draw, opened
from tests.unit.clients.kiosk.scenes import PANELS, SCENES

WISHED_MM = {"1024x768": 6.2, "1280x800": 6.2, "1080x1920": 8.4}  # capital letters; 0.7 degrees at 500 mm are 6.1 mm
LARGER = 1.3
SPARSE = ("place_card", "checking", "end.CANCELLED", "outcome.done")
FULL = ("checklist", "terms_full", "help", "new_password", "end.OUTCOME_UNRESOLVED")
BODY_MM = """(pixelsPerMm) =>
  (parseFloat(getComputedStyle(document.querySelector(".frame")).fontSize) * 0.765) / pixelsPerMm"""
AT_ONE = "() => document.querySelectorAll('[data-fit]').forEach((box) => box.style.setProperty('--fit', '1'))"
TYPE = """(key) => {
  document.querySelector("password-pad").type({ key });
  const still = (one) => !one.closest(".spoken, .dots, svg") && !one.matches(".met, .unmet");
  const all = [...document.querySelectorAll("#screen *")].filter(still);
  return all.map((one) => {
    const { x, y, width, height } = one.getBoundingClientRect();
    return [one.className, x, y, width, height, getComputedStyle(one).fontSize].join(" ");
  });
}"""
SEEN = "(name) => document.querySelector(`[data-${name}]`).checkVisibility({ visibilityProperty: true })"
FACTOR = """async (what) => {
  (await import("/static/js/fit.js")).fitText(document.body, what);
  return Number(document.querySelector(".frame").style.getPropertyValue("--fit"));
}"""


def doubled(text: Text) -> Text:
    """Words twice as long; addresses, numbers and what is filled in stay."""

    def longer(word: re.Match[str]) -> str:
        if re.search(r"[{}0-9/“]|\.\w", word[0]):
            return word[0]
        return re.sub(r"[A-Za-z]+", lambda letters: letters[0] + letters[0].lower(), word[0])

    return Text(tuple((re.sub(r"\S+", longer, words), reading) for words, reading in text.pieces))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        yield running
        running.close()


def page_of(browser: Browser, panel: str) -> Page:
    width, height = PANELS[panel]
    return opened(browser.new_page(viewport={"width": width, "height": height}))


def body_mm(page: Page, panel: str) -> float:
    height: float = page.evaluate(BODY_MM, PANELS[panel][0] / int({"1024x768": 211, "1280x800": 217}.get(panel, 268)))
    return height


@pytest.mark.parametrize("panel", PANELS)
def test_text_has_the_size_that_is_wished_for_and_large_text_is_never_smaller(browser: Browser, panel: str) -> None:
    page, renderer = page_of(browser, panel), Renderer(panel=panel)
    for language in ("ja", "en"):
        for scene in (*SPARSE, *FULL):
            found = {}
            for size in ("standard", "large"):
                draw(page, renderer, Shot(scene, "", panel, Preferences(language=language, size=size)))
                assert measured(page, panel) == [], (scene, size)
                found[size] = body_mm(page, panel)
            if scene in SPARSE:
                assert found["standard"] == pytest.approx(WISHED_MM[panel], abs=0.3), (language, scene)
            assert found["standard"] * 0.98 <= found["large"] <= WISHED_MM[panel] * LARGER * 1.01, (language, scene)


@pytest.mark.parametrize("panel", PANELS)
def test_language_with_words_twice_as_long_fits(browser: Browser, panel: str) -> None:
    """It needs its catalogue and nothing else; without the fitting it would not."""
    page, renderer = page_of(browser, panel), Renderer(panel=panel)
    real = Catalogues.load()
    texts: Mapping[str, Mapping[str, Text]] = {
        **real.texts,
        "en": {key: doubled(text) for key, text in real.texts["en"].items()},
    }
    renderer._catalogues = Catalogues(texts)
    without = 0
    for scene in (*SPARSE, *FULL):
        draw(page, renderer, Shot(scene, "", panel, Preferences(language="en")))
        assert "thethe" in page.content() or "cardcard" in page.content(), scene
        found = [*page.evaluate(FAULTS), *measured(page, panel)]
        assert [fault for fault in found if "letters of" not in fault] == [], scene
        page.evaluate(AT_ONE)
        without += bool(page.evaluate(FAULTS))
    assert without or panel == "1080x1920"


def test_nothing_moves_while_a_password_is_typed(browser: Browser) -> None:
    """Rules become true, and a warning comes and goes, each in a place that was kept for it."""
    for panel, language in (("1280x800", "ja"), ("1024x768", "en")):
        page = page_of(browser, panel)
        document = Renderer(panel=panel).document(SCENES["new_password"], Preferences(language=language), token="")
        page.route(f"{ORIGIN}/", partial(Route.fulfill, body=document, content_type="text/html"))
        page.goto(f"{ORIGIN}/")
        page.evaluate("async () => (await import('/static/js/pads.js')).definePads()")
        page.evaluate("() => document.fonts.ready.then(() => null)")
        factor = page.evaluate(FACTOR, "the new password")
        shown: list[list[str]] = [page.evaluate(TYPE, "Backspace")]
        seen = []
        for key in "ABCDEF12":
            shown.append(page.evaluate(TYPE, key))
            seen.append(page.evaluate(SEEN, "weak"))
            assert page.evaluate(FACTOR, "the new password") == factor
        assert True in seen
        assert False in seen
        assert page.locator("[data-panel=new] [data-met=true]").count() == 3
        for later in shown[1:]:
            assert later == shown[0], [pair for pair in zip(shown[0], later, strict=True) if pair[0] != pair[1]]
        page.close()


def test_another_panel_is_fitted_as_if_it_had_been_there_from_the_beginning(browser: Browser) -> None:
    """The tools' names take their room before the screen does."""
    page = page_of(browser, "1024x768")
    for scene in ("place_card", "terms_full"):
        for language in ("ja", "en"):
            draw(page, Renderer(panel="1024x768"), Shot(scene, "", "1024x768", Preferences(language, size="large")))
            with on_panel(page, "1080x1920"):
                page.evaluate(FIT)
                assert measured(page, "1080x1920") == [], (scene, language)


def test_text_grows_only_with_another_screen(browser: Browser) -> None:
    page = page_of(browser, "1280x800")
    draw(page, Renderer(panel="1280x800"), Shot("terms_full", "", "1280x800", Preferences(language="en")))
    full: Any = page.evaluate(FACTOR, "all terms")
    assert full < 1
    page.evaluate("() => document.querySelectorAll('li ~ li').forEach((line) => line.remove())")
    assert page.evaluate(FACTOR, "all terms") == full
    assert page.evaluate(FACTOR, "one of them") == 1
