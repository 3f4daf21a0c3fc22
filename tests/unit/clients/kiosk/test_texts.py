"""The catalogues say everything in every language, and nothing that is not so."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from jpki_kiosk.preferences import Preferences
from jpki_kiosk.preferences import changed as preferences_after
from jpki_kiosk.screens import UNAVAILABLE_NAMES
from jpki_kiosk.texts import EASY, LOCALES, ORIGINAL, SAME, Catalogues, Text, UnknownTextError, read_sources
from tests.unit.clients.kiosk.scenes import REASONS

CATALOGUES = Catalogues.load()
SOURCES = {path.stem: read_sources(path) for path in LOCALES.glob("*.po")}
JAPANESE = sorted(CATALOGUES.texts[ORIGINAL].items())
REASON_PROTO = Path(__file__).parents[4] / "protos/jpkireset/gateway/v1/reason.proto"
KANJI = re.compile(r"[\u3400-\u9fff々]")
KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")
# Two or more letters that are not a name or a word of the service itself.
ABBREVIATION = re.compile(r"\b(?!JPKI\b|QWERTY\b|ABC\b|Tax\b|www\b)[A-Za-z]{2,}\b")
PARTS = ("title", "what", "card", "reservation", "next", "where")
LONGEST = 40  # characters of a Japanese sentence

# What each language says of a card, in the words that must be found or must not.
UNCHANGED = {
    "ja": "変わっていません",
    "en": "not been changed|Neither card has been changed",
    "zh_Hans": "没有改变",
    "ko": "바뀌지 않았습니다",
}
UNKNOWN = {"ja": "わかりません", "en": "not known", "zh_Hans": "还不清楚|还不知道", "ko": "모릅니다"}
DONE = {"ja": "完了", "en": r"[Dd]one", "zh_Hans": "完成", "ko": "완료"}


def reason_comments() -> dict[str, dict[str, str]]:
    """Return the labelled lines of each reason's comment in the contract."""
    comments: dict[str, dict[str, str]] = {}
    lines: dict[str, str] = {}
    for line in REASON_PROTO.read_text(encoding="utf-8").splitlines():
        if labelled := re.match(r"\s*// (What|Try|Card|Reservation|Citizen|Operator): (.+)", line):
            lines[labelled[1]] = labelled[2]
        elif value := re.match(r"\s*REASON_(\w+) = \d+;", line):
            comments[value[1]], lines = lines, {}
    del comments["UNSPECIFIED"]
    return comments


COMMENTS = reason_comments()


def test_every_language_has_every_text_and_no_other() -> None:
    keys = SOURCES[ORIGINAL].keys()
    assert {language: sorted(keys ^ texts.keys()) for language, texts in SOURCES.items() if keys != texts.keys()} == {}


def test_every_language_has_the_placeholders_of_the_japanese() -> None:
    for key, text in JAPANESE:
        for language, texts in CATALOGUES.texts.items():
            assert texts[key].placeholders == text.placeholders, (language, key)


def test_languages_of_the_menu_are_the_catalogues() -> None:
    assert CATALOGUES.languages[0] == ORIGINAL
    assert set(CATALOGUES.languages) == {path.stem for path in LOCALES.glob("*.po")} - {EASY}
    menu = CATALOGUES.words("en").menu
    assert dict(menu) == {"ja": "日本語", "en": "English", "zh_Hans": "简体中文", "ko": "한국어"}
    for language, _ in menu:
        after = preferences_after(Preferences(), f"language-{language}", CATALOGUES.languages)
        assert after is not None
        assert after.language == language


def test_a_language_is_added_by_its_catalogue(tmp_path: Path) -> None:
    for path in LOCALES.glob("*.po"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    portuguese = (LOCALES / "en.po").read_text(encoding="utf-8").replace('msgstr "English"', 'msgstr "Português"')
    (tmp_path / "pt.po").write_text(portuguese, encoding="utf-8")
    catalogues = Catalogues.load(tmp_path)
    assert ("pt", "Português") in catalogues.words("ja").menu
    assert catalogues.words("pt").t("button.next") == "Next"
    assert "23 de nov" in catalogues.words("pt").date(datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC))


def test_every_kanji_carries_its_reading() -> None:
    for language in (ORIGINAL, EASY):
        for key, source in SOURCES[language].items():
            if key.startswith("official."):
                continue  # shown to the staff
            bare = re.sub(r"\[[^]]*\]", "", source)
            assert not KANJI.search(bare), (language, key, source)
            for base, reading in re.findall(r"\[([^|\]]*)\|([^]]*)\]", source):
                assert KANJI.search(base), (language, key)
                assert re.fullmatch(r"[\u3041-\u3096]+", reading), (language, key, reading)


def test_japanese_sentences_are_short_and_polite() -> None:
    for language in (ORIGINAL, EASY):
        for key, text in CATALOGUES.texts[language].items():
            plain = text.plain
            assert len(plain) <= LONGEST, (language, key, len(plain))
            if not key.startswith("official."):
                assert not ABBREVIATION.search(re.sub(r"\{\w+\}|[\w.-]+\.jp[/\w]*", "", plain)), (language, key, plain)
            if plain.endswith("。"):
                last = re.sub(r"（.*）$", "", plain.rstrip("。").split("。")[-1])
                assert re.search(r"(です|ます|ますか|ですか|ません|ました|ください|でした)$", last), (
                    language,
                    key,
                    plain,
                )


def test_easy_japanese_repeats_the_japanese_only_by_saying_so() -> None:
    copied = [key for key, source in SOURCES[EASY].items() if source == SOURCES[ORIGINAL][key]]
    assert copied == []
    own = [key for key, source in SOURCES[EASY].items() if source != SAME]
    assert len(own) > len(SOURCES[EASY]) / 2
    assert CATALOGUES.words("ja", easy=True).t("language.name") == "日本語"
    assert CATALOGUES.words("en", easy=True).t("button.next") == "Next"


def test_easy_japanese_that_refers_to_nothing_is_refused(tmp_path: Path) -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n'
    (tmp_path / "ja.po").write_text(f'{header}\nmsgid "a"\nmsgstr "b"\n', encoding="utf-8")
    (tmp_path / "ja_easy.po").write_text(f'{header}\nmsgid "c"\nmsgstr "="\n', encoding="utf-8")
    with pytest.raises(UnknownTextError):
        Catalogues.load(tmp_path)


def test_no_language_but_the_japanese_has_readings_or_kana() -> None:
    for language in set(CATALOGUES.languages) - {ORIGINAL}:
        for key, source in SOURCES[language].items():
            assert not re.search(r"\[|\]", source), (language, key)
            kept = source.replace("JPKI暗証番号リセット", "")  # the app's own name
            assert not KANA.search(kept), (language, key)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("language", CATALOGUES.languages)
def test_texts_of_a_reason_do_not_contradict_the_contract(language: str, reason: str) -> None:
    texts = {part: CATALOGUES.texts[language][f"reason.{reason}.{part}"].plain for part in PARTS}
    assert len({*texts.values()}) == len(PARTS), "each part says something of its own"
    card, reservation = COMMENTS[reason]["Card"], COMMENTS[reason]["Reservation"]
    if re.match(r"(as the outcome says: )?not changed|neither card was changed", card):
        assert re.search(UNCHANGED[language], texts["card"]), texts["card"]
    else:
        assert card.startswith("unknown"), "another kind of card line: decide what the screens say"
        assert re.search(UNKNOWN[language], texts["card"]), texts["card"]
        assert not re.search(UNCHANGED[language], texts["card"])
    for text in texts.values():
        assert not re.search(DONE[language], text), "only a done attempt is done"
    kept = texts["reservation"] == CATALOGUES.texts[language]["reason.BUSY.reservation"].plain
    assert kept == bool(re.match(r"lives($|[.;]|, unless)|as the outcome says", reservation)), reservation
    if "municipal counter" in COMMENTS[reason]["Citizen"]:
        assert CATALOGUES.texts[language]["help_counter.where"].plain.lower() in texts["where"].lower()


def test_contract_has_the_lines_that_are_looked_for() -> None:
    assert set(COMMENTS) == set(REASONS)
    assert all(
        set(lines) == {"What", "Try", "Card", "Reservation", "Citizen", "Operator"} for lines in COMMENTS.values()
    )


@pytest.mark.parametrize("language", CATALOGUES.languages)
def test_only_done_says_done_and_unknown_says_neither(language: str) -> None:
    texts = CATALOGUES.texts[language]
    for key in ("unknown.title", "unknown.card", "take_card.unknown", "outcome_unlearnt.card"):
        assert not re.search(UNCHANGED[language], texts[key].plain), key
        assert not re.search(DONE[language], texts[key].plain), key
    assert re.search(UNKNOWN[language], texts["unknown.card"].plain)
    assert re.search(DONE[language], texts["take_card.done"].plain)
    assert re.search(UNCHANGED[language], texts["take_card.not_done"].plain)
    for name in UNAVAILABLE_NAMES:
        assert f"{name}.next" in texts
    assert re.search(UNCHANGED[language], texts["unavailable.card"].plain)


def test_readings_are_shown_only_when_asked_for() -> None:
    asked = CATALOGUES.words("ja", furigana=True)
    assert asked.t("button.next") == Markup("<ruby>次<rp>（</rp><rt>つぎ</rt><rp>）</rp></ruby>\u2060へ")
    assert asked.plain("button.next") == "次へ"
    assert CATALOGUES.words("ja").t("button.next") == "次へ"
    assert CATALOGUES.words("en", furigana=True).t("button.next") == "Next"


@pytest.mark.parametrize(
    ("source", "phrases"),
    [
        ("もう[少|すこ]しお[待|ま]ちください。", ["もう", "少し", "お待ちください。"]),
        ("[置|お]いて、「[次|つぎ]へ」を[押|お]してください", ["置いて、", "「次へ」を", "押してください"]),
        ("6〜16[文字|もじ]の[長|なが]いパスワードです", ["6〜16文字の", "長い", "パスワードです"]),
    ],
)
def test_lines_with_readings_break_between_phrases_only(source: str, phrases: list[str]) -> None:
    shown = Text.parse(source).render({}, furigana=True).replace("\u2060", "")
    assert re.sub(r"<rp>.*?</rt><rp>）</rp>|</?ruby>", "", shown).split("<wbr>") == phrases


def test_official_terms_stand_beside_translations_only() -> None:
    assert CATALOGUES.words("ja", furigana=True).official("official.agree") == ""
    assert CATALOGUES.words("ko").official("official.agree") == Markup(
        '<span class="official" lang="ja">同意する</span>'
    )
    with pytest.raises(UnknownTextError):
        CATALOGUES.words("ja").official("official.nothing")


def test_texts_and_values_are_escaped() -> None:
    text = Text.parse("<b>[漢|かん]</b> {name} & {name}")
    shown = text.render({"name": "<i>"}, furigana=True)
    assert shown == Markup(
        "&lt;b&gt;\u2060<ruby>漢<rp>（</rp><rt>かん</rt><rp>）</rp></ruby>\u2060&lt;/b&gt; &lt;i&gt; &amp; &lt;i&gt;"
    )
    assert text.render({"name": Markup("<b></b>")}, furigana=False).count("<b></b>") == 2


@pytest.mark.parametrize(
    ("key", "values"),
    [("no.such", {}), ("button.next", {"count": 1}), ("user_pin.tries", {}), ("user_pin.tries", {"n": 1})],
)
def test_unknown_text_or_other_placeholders_are_refused(key: str, values: dict[str, object]) -> None:
    with pytest.raises(UnknownTextError):
        CATALOGUES.words("ja").t(key, **values)


def test_moments_are_told_as_in_japan() -> None:
    moment = datetime.datetime(2026, 11, 22, 21, 30, tzinfo=datetime.UTC)
    told = {language: words(language) for language in CATALOGUES.languages for words in [CATALOGUES.words]}
    assert {words.time(moment).striptags() for words in told.values()} == {"6:30"}
    assert {language: words.date(moment).striptags() for language, words in told.items()} == {
        "ja": "11月23日(月)",
        "en": "Mon, Nov 23",
        "zh_Hans": "11月23日周一",
        "ko": "11월 23일 (월)",
    }


def test_a_text_in_every_language_carries_its_tag() -> None:
    assert [tag for tag, _ in CATALOGUES.words("ko").everyone("lost.what")] == ["ja", "en", "ko", "zh-Hans"]
    assert CATALOGUES.words("zh_Hans").tag == "zh-Hans"
