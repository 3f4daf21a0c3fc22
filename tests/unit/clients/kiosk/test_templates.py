"""Every screen renders in every language with nothing but texts, official terms beside them, and known presses."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import jpki_kiosk
from jpki_kiosk import places, preferences
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from jpki_kiosk.screens import NAMES
from jpki_kiosk.texts import LOCALES, Catalogues, Text, read_sources
from tests.unit.clients.kiosk.scenes import REASONS, SCENES

PACKAGE = Path(jpki_kiosk.__file__).parent
TEMPLATES = PACKAGE / "templates"
CATALOGUES = Catalogues.load()
RENDERER = Renderer(panel="1024x768")
# Presses that are neither a place's nor a preference's.
ATTEMPT_PRESSES = frozenset(
    {"agree", "next", "cancel", "confirm-last-try", "back", "help", "close-help", "more-time", "finish", "retry"}
)
# 「証明書の交付」 is shown, as the real machine does, and cannot be pressed.
NOT_OFFERED = frozenset({"certificates"})


class Page(html.parser.HTMLParser):
    """What a fragment holds: its elements, and the ways in which it is not well formed."""

    VOID = frozenset({"meta", "link", "path", "circle", "rect", "ellipse", "wbr"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def having(self, attribute: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.elements if attribute in attributes]


@cache
def fragment(scene: str, wanted: Preferences) -> str:
    return RENDERER.fragment(SCENES[scene], wanted)


LOOKS: Mapping[str, Preferences] = {
    **{language: Preferences(language=language) for language in CATALOGUES.languages},
    "ja+furigana": Preferences(furigana=True),
    "ja+easy": Preferences(easy=True),
    "ja+large+contrast": Preferences(size="large", theme="contrast"),
}


def test_every_name_and_every_reason_has_a_scene() -> None:
    assert {screen.name for screen in SCENES.values()} == set(NAMES)
    for name in ("outcome", "end"):
        assert {screen.reason for screen in SCENES.values() if screen.name == name} == {*REASONS, None}


@pytest.mark.parametrize("look", LOOKS)
def test_every_screen_is_well_formed_and_asks_one_thing(look: str) -> None:
    for scene, screen in SCENES.items():
        page = Page(fragment(scene, LOOKS[look]))
        tags = [tag for tag, _ in page.elements]
        panels = len([1 for attributes in page.having("data-panel")])
        assert tags.count("h1") == tags.count("main") == max(1, panels), scene
        primary = [a for a in page.having("class") if "primary" in a["class"].split()]
        assert len(primary) <= max(1, panels), scene
        identifiers = [attributes["id"] for attributes in page.having("id")]
        assert len(identifiers) == len(set(identifiers)), scene
        assert not {"script", "style", "input", "form", "a", "iframe"} & set(tags), scene
        for _, attributes in page.elements:
            assert "style" not in attributes, scene
            assert not [name for name in attributes if name.startswith("on")], scene
        assert all(a.get("type") == "button" for tag, a in page.elements if tag == "button"), scene
        assert ("cancel" in {a["data-press"] for a in page.having("data-press")}) == screen.can_cancel, scene


def test_every_press_means_something() -> None:
    known = {press for _, press in places.TABLE} | ATTEMPT_PRESSES | {places.AGREE}
    for scene in SCENES:
        for attributes in Page(fragment(scene, Preferences())).having("data-press"):
            press = attributes["data-press"]
            after = preferences.changed(Preferences(), press, CATALOGUES.languages)
            assert press in known or after is not None or (press in NOT_OFFERED and "disabled" in attributes), (
                scene,
                press,
            )


@pytest.mark.parametrize("look", LOOKS)
def test_no_key_or_placeholder_is_left_on_a_screen(look: str) -> None:
    keys = {key for key in read_sources(LOCALES / "ja.po") if "." in key}
    for scene in SCENES:
        source = fragment(scene, LOOKS[look])
        words = set(re.findall(r"[\w]+(?:\.[\w]+)+", source)) & keys
        assert not words, (scene, words)
        assert not set(re.findall(r"\{\w+\}", source)) - {"{count}"}, scene


def test_every_text_is_used() -> None:
    """A text that no screen shows is a text that nobody will mend."""
    asked: set[str] = set()

    class Spy(Mapping[str, Text]):
        def __init__(self, texts: Mapping[str, Text]) -> None:
            self._texts = texts

        def __getitem__(self, key: str) -> Text:
            asked.add(key)
            return self._texts[key]

        def __contains__(self, key: object) -> bool:
            asked.add(str(key))
            return key in self._texts

        def __iter__(self) -> Iterator[str]:
            return iter(self._texts)

        def __len__(self) -> int:
            return len(self._texts)

    spying = Renderer(panel="1024x768")
    spying._catalogues = Catalogues({language: Spy(texts) for language, texts in CATALOGUES.texts.items()})
    for screen in SCENES.values():
        spying.document(screen, Preferences(), token="")
    unused = {key for key in CATALOGUES.texts["ja"] if key not in asked}
    assert unused == set()


def test_claims_follow_the_outcome() -> None:
    """Whatever the reason, the outcome decides what is said of the card."""
    texts = CATALOGUES.texts["ja"]
    wanted = Preferences()
    for reason in REASONS:
        for name in ("outcome", "end"):
            unknown = replace(SCENES["end.done"], name=name, outcome="unknown", reason=reason)
            source = "".join(Page(RENDERER.fragment(unknown, wanted)).words)
            assert texts["unknown.card"].plain in source  # the same words as the reason OUTCOME_UNRESOLVED has
            for said in ("unavailable.card", "take_card.not_done", "take_card.done", "done.card"):
                assert texts[said].plain not in source, (reason, said)
            refused = "".join(Page(RENDERER.fragment(replace(unknown, outcome="not_done"), wanted)).words)
            assert texts[f"reason.{reason}.card"].plain in refused
            assert texts["done.card"].plain not in refused
    done = "".join(Page(fragment("end.done", wanted)).words)
    assert texts["done.card"].plain in done
    assert texts["unavailable.card"].plain not in done


def test_official_terms_stand_beside_what_is_pressed() -> None:
    for language in ("en", "zh_Hans", "ko"):
        wanted = Preferences(language=language)
        for scene, term in (
            ("terms", "同意する"),
            ("new_password", "確定する"),
            ("place_card", "次へ"),
            ("user_pin", "確認"),
            ("user_pin_last_try", "入力する"),
        ):
            assert f'lang="ja">{term}</span>' in fragment(scene, wanted), (language, scene)
        assert 'lang="ja">署名用パスワード</span>' in fragment("new_password", wanted)
        assert 'lang="ja">利用者証明用パスワード</span>' in fragment("user_pin", wanted)


def test_codes_are_short_and_no_two_are_alike() -> None:
    module = RENDERER._templates.get_template("_codes.html").module
    codes = [*module.CODES.values(), *module.ENDINGS.values(), module.DONE]  # type: ignore[attr-defined]
    assert set(module.ENDINGS) == set(REASONS)  # type: ignore[attr-defined]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[A-Z]\d\d", code) for code in codes)
    for scene in SCENES:
        shown = re.findall(r'<p class="code"[^>]*>([A-Z]\d\d)</p>', fragment(scene, Preferences()))
        assert len(shown) == 1, scene


def test_pads_hold_every_key_once() -> None:
    keys = [a["data-key"] for a in Page(fragment("user_pin", Preferences())).having("data-key")]
    assert keys == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    panel = fragment("new_password", Preferences()).split('data-panel="again"')[0]
    keys = [a["data-key"] for a in _keys(panel)]
    assert keys == [*"1234567890", *letters, "clear", "back"]
    sheet = (PACKAGE / "static/css/screens.css").read_text(encoding="utf-8")
    assert sorted(re.findall(r'\.qwerty \[data-key="([A-Z])"\]', sheet)) == list(letters)


def _keys(source: str) -> list[dict[str, str]]:
    return [{"data-key": key} for key in re.findall(r'data-key="(\w+)"', source)]


def test_document_holds_what_the_page_needs() -> None:
    document = RENDERER.document(SCENES["idle"], Preferences(), token="0123")
    page = Page(document.removeprefix("<!doctype html>"))
    assert {a["id"] for a in page.having("id")} >= {"screen", "warning", "lost"}
    assert [a["content"] for _, a in page.elements if a.get("name") == "page-token"] == ["0123"]
    assert [a["src"] for a in page.having("src")] == ["/static/js/page.js"]
    for attributes in (*page.having("href"), *page.having("src")):
        path = attributes.get("href") or attributes["src"]
        assert (PACKAGE / path.removeprefix("/")).is_file(), path


def test_sheets_and_pictures_load_nothing_from_elsewhere() -> None:
    for path in (*PACKAGE.glob("static/**/*.css"), *TEMPLATES.rglob("*.svg"), *TEMPLATES.glob("*.html")):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"(https?:)?//(?!www\.w3\.org)[\w.-]+\.\w", source), path.name
        for url in re.findall(r"url\(\"([^\"]+)\"\)", source):
            target = PACKAGE / url.removeprefix("/") if url.startswith("/") else path.parent / url
            assert target.is_file(), url
