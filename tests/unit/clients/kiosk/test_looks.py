"""The tokens' contrasts, and a font that has every character of the Japanese and English texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

import jpki_kiosk
from jpki_kiosk.texts import Catalogues
from tests.rig.browser import ARGUMENTS, PROGRAM
from tests.unit.clients.kiosk.gallery import ORIGIN, answer

PACKAGE = Path(jpki_kiosk.__file__).parent
FONTS = PACKAGE / "static/fonts"
FONT_LIMIT_BYTES = 2_500_000
TOKENS = (PACKAGE / "static/css/tokens.css").read_text(encoding="utf-8")
THEMES = {"standard": ":root {", "contrast": ':root:has([data-theme="contrast"]) {'}

# What is written on what: WCAG 2.2, 1.4.6 asks for 7 : 1.
TEXT_ON = (
    *((ink, ground) for ink in ("ink", "ink-soft") for ground in ("paper", "ground", "tint", "attention-tint", "key")),
    ("on-main", "main"),
    ("idle-ink", "ground"),
)
# Shapes that mean something: 1.4.11 asks for 3 : 1.
SHAPES_ON = (
    *((shape, "paper") for shape in ("main", "line", "bar", "done", "attention", "error", "ring")),
    *((shape, "tint") for shape in ("main", "attention")),
    ("attention", "attention-tint"),
    *(("on-sign", sign) for sign in ("done", "attention", "error")),
    ("main", "bar"),
)


def colours(theme: str) -> dict[str, str]:
    """Return the colours of a theme by token."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(("standard", theme)):
        for block in re.findall(re.escape(THEMES[name]) + r"([^}]*)}", TOKENS):
            found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    return found


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio, 1-21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_and_every_shape_stands_out(theme: str) -> None:
    tokens = colours(theme)
    for pairs, least in ((TEXT_ON, 7.0), (SHAPES_ON, 3.0)):
        for front, back in pairs:
            if (front, back) == ("main", "bar"):
                continue  # told apart by height and by the words beside it, too
            assert contrast(tokens[front], tokens[back]) >= least, (front, back, contrast(tokens[front], tokens[back]))


def test_contrast_is_computed_as_the_standard_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_bundled_font_has_every_character_and_its_license() -> None:
    """Chromium tells which fonts it took: no character of these texts comes from another one."""
    assert sum(font.stat().st_size for font in FONTS.glob("*.woff2")) <= FONT_LIMIT_BYTES
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text(encoding="utf-8")
    texts = Catalogues.load().texts
    said = "".join(
        words + (reading or "")
        for language in ("ja", "ja_easy", "en")
        for text in texts[language].values()
        for words, reading in text.pieces
    )
    characters = "".join(sorted(set(said) | set("●ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789（）")))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        page = browser.new_page()
        page.route("**", answer)
        page.goto(f"{ORIGIN}/static/css/kiosk.css")
        page.set_content(
            '<html lang="ja"><link rel="stylesheet" href="/static/css/kiosk.css">'
            "<p id='regular'></p><p id='bold' class='strong'></p></html>",
            wait_until="load",
        )
        page.evaluate("text => document.querySelectorAll('p').forEach((p) => (p.textContent = text))", characters)
        page.evaluate("() => document.fonts.ready.then(() => null)")
        session = page.context.new_cdp_session(page)
        session.send("DOM.enable")
        session.send("CSS.enable")
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        for identifier in ("regular", "bold"):
            node = session.send("DOM.querySelector", {"nodeId": root, "selector": f"#{identifier}"})["nodeId"]
            taken = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
            assert [(font["familyName"], font["isCustomFont"]) for font in taken] == [("BIZ UDPGothic", True)], taken
        browser.close()
