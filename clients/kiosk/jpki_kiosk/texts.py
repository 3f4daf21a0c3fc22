"""Every text a citizen sees, read from the catalogues in `locales/`, one gettext file per language.

A text's key is its msgid ("place_card.title"). Four things are added to plain gettext:

- Furigana: the Japanese catalogues write `[漢字|かんじ]`, shown as ruby when the citizen asked for it and without the
  reading otherwise. Chromium finds no phrases in words with readings, so each is marked: a line breaks between them.
- Placeholders: `{count}`; the values given must be exactly those the text names.
- `ja_easy` (やさしい日本語) lists every key of `ja`; `=` says that the text is explicitly the same.
- The official Japanese terms (the keys under `official.`) stay visible beside every translation: `official`.

Texts and values are escaped: a catalogue cannot bring HTML in. A language is added by adding its catalogue, whose
text `language.name` is its own name for itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_skeleton
from babel.messages.pofile import read_po
from markupsafe import Markup, escape

LOCALES = Path(__file__).with_name("locales")
JAPAN = ZoneInfo("Asia/Tokyo")
ORIGINAL = "ja"  # the language the others are translated from
EASY = "ja_easy"  # やさしい日本語: a way of speaking, not a language of the menu
SAME = "="  # in `ja_easy`: the text of `ja` is easy already
FURIGANA_LANGUAGES = frozenset({ORIGINAL})

_RUBY = re.compile(r"\[(?P<base>[^][|]+)\|(?P<reading>[^][|]+)\]")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# A Japanese phrase: a word with its honorific お or ご, the hiragana that ends it, and the marks behind.
_PHRASE = re.compile(r"[おご]?[^ぁ-ん、。]*(?:(?![おご][一-鿿])[ぁ-ん）」])*[、。]*")

_BREAK = Markup("<wbr>")
_WHOLE = Markup("\u2060")  # WORD JOINER: a browser may break a line on either side of ruby
_RUBY_OF = Markup("<ruby>{}<rp>（</rp><rt>{}</rt><rp>）</rp></ruby>")


class UnknownTextError(KeyError):
    """No catalogue has this key, or its placeholders are not those given."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text: pieces of words, each with its reading or none."""

    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, source: str) -> Text:
        """Cut a catalogue's sentence at its furigana."""
        return cls(tuple(_pieces(source)))

    @property
    def plain(self) -> str:
        """The sentence without readings, its placeholders as they stand."""
        return "".join(words for words, _ in self.pieces)

    @property
    def placeholders(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(_PLACEHOLDER.findall(self.plain))

    def render(self, values: Mapping[str, object], *, furigana: bool) -> Markup:
        """Fill in the values, escape everything, and set the readings above their words when asked."""
        if not furigana:
            return Markup("").join(_fill(words, values) for words, _ in self.pieces)
        return Markup("").join(self._with_readings(values))

    def _with_readings(self, values: Mapping[str, object]) -> Iterator[Markup]:
        starts = {phrase.start() for phrase in _PHRASE.finditer(self.plain)} - {0, len(self.plain)}
        at = 0
        for words, reading in self.pieces:
            cuts = [at, *sorted(start for start in starts if at < start < at + len(words)), at + len(words)]
            if at:
                yield _BREAK if at in starts else _WHOLE
            if reading is None:
                yield _BREAK.join(_fill(self.plain[one:other], values) for one, other in itertools.pairwise(cuts))
            else:
                yield _RUBY_OF.format(_fill(words, values), reading)
            at += len(words)


def _pieces(source: str) -> Iterator[tuple[str, str | None]]:
    end = 0
    for ruby in _RUBY.finditer(source):
        if ruby.start() > end:
            yield source[end : ruby.start()], None
        yield ruby["base"], ruby["reading"]
        end = ruby.end()
    if end < len(source):
        yield source[end:], None


def _fill(words: str, values: Mapping[str, object]) -> Markup:
    return Markup(_PLACEHOLDER.sub(lambda name: str(escape(values[name[1]])), str(escape(words))))  # noqa: S704 - both escaped


@dataclass(frozen=True, slots=True)
class Words:
    """The texts as one citizen wants them: a language, its way of speaking, and whether readings are shown."""

    language: str  # the catalogue's name: "zh_Hans"
    furigana: bool
    texts: Mapping[str, Text]
    originals: Mapping[str, Text]
    all_texts: tuple[tuple[str, Mapping[str, Text]], ...]  # by language in the menu's order

    @property
    def menu(self) -> tuple[tuple[str, str], ...]:
        """The languages, each with its own name for itself."""
        return tuple((language, texts["language.name"].plain) for language, texts in self.all_texts)

    @property
    def tag(self) -> str:
        """The language for the attribute `lang` (BCP 47): "zh-Hans"."""
        return _tag(self.language)

    def t(self, key: str, /, **values: object) -> Markup:
        """Return a text.

        Raises:
            UnknownTextError: no such key, or other placeholders than these values.
        """
        return self._find(key, values).render(values, furigana=self.furigana)

    def plain(self, key: str, /, **values: object) -> Markup:
        """Return a text without readings, for an attribute.

        Raises:
            UnknownTextError: as `t`.
        """
        return self._find(key, values).render(values, furigana=False)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in self.texts

    def official(self, key: str) -> Markup:
        """Return the Japanese term that the staff know, to stand beside its translation; nothing in Japanese.

        Raises:
            UnknownTextError: no such key.
        """
        if key not in self.originals:
            raise UnknownTextError(key)
        if self.language == ORIGINAL:
            return Markup("")
        return Markup('<span class="official" lang="ja">{}</span>').format(self.originals[key].plain)

    def everyone(self, key: str) -> tuple[tuple[str, Markup], ...]:
        """Return a text in every language with its tag (BCP 47), for people whose language is not known."""
        return tuple((_tag(language), texts[key].render({}, furigana=False)) for language, texts in self.all_texts)

    def date(self, moment: datetime) -> Markup:
        """Return the day in Japan with month and weekday, not to be broken across lines."""
        return _whole(format_skeleton("MMMEd", moment, tzinfo=JAPAN, locale=Locale.parse(self.language)))

    def time(self, moment: datetime) -> Markup:
        """Return the time of day in Japan, 0:00-23:59 in every language, as the opening hours are written."""
        local = moment.astimezone(JAPAN)
        return _whole(f"{local.hour}:{local.minute:02}")

    def functions(self) -> dict[str, Callable[..., object] | object]:
        """Return what the templates know of the words."""
        return {
            "t": self.t,
            "plain": self.plain,
            "has": self.has,
            "official": self.official,
            "everyone": self.everyone,
            "date": self.date,
            "time": self.time,
            "tag": self.tag,
            "menu": self.menu,
            "can_furigana": self.language in FURIGANA_LANGUAGES,
        }

    def _find(self, key: str, values: Mapping[str, object]) -> Text:
        text = self.texts.get(key)
        if text is None or text.placeholders != values.keys():
            raise UnknownTextError(f"{key} with {sorted(values)} in {self.language}")
        return text


@dataclass(frozen=True, slots=True)
class Catalogues:
    """The catalogues of all languages."""

    texts: Mapping[str, Mapping[str, Text]]  # by language, then by key; `ja_easy` complete

    @classmethod
    def load(cls, directory: Path = LOCALES) -> Catalogues:
        """Read every catalogue of a folder.

        Raises:
            UnknownTextError: やさしい日本語 refers to a text that `ja` does not have.
        """
        sources = {path.stem: read_sources(path) for path in sorted(directory.glob("*.po"))}
        sources[EASY] = dict(_easy(sources[EASY], sources[ORIGINAL]))
        return cls(
            {
                language: {key: Text.parse(source) for key, source in texts.items()}
                for language, texts in sources.items()
            }
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the menu, Japanese first."""
        return (ORIGINAL, *sorted(self.texts.keys() - {ORIGINAL, EASY}))

    def words(self, language: str, *, easy: bool = False, furigana: bool = False) -> Words:
        """Return the texts for one citizen; easy words and readings mean something in Japanese only."""
        return Words(
            language=language,
            furigana=furigana and language in FURIGANA_LANGUAGES,
            texts=self.texts[EASY if easy and language == ORIGINAL else language],
            originals=self.texts[ORIGINAL],
            all_texts=tuple((each, self.texts[each]) for each in self.languages),
        )


def _whole(words: str) -> Markup:
    return Markup('<span class="whole">{}</span>').format(words)


def _tag(language: str) -> str:
    return language.replace("_", "-")


def read_sources(path: Path) -> dict[str, str]:
    """Read one catalogue as it is written, by key; a text without words is left out."""
    with path.open("rb") as file:
        catalogue = read_po(file, abort_invalid=True)
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}


def _easy(sources: Mapping[str, str], originals: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, source in sources.items():
        if source != SAME:
            yield key, source
        elif key in originals:
            yield key, originals[key]
        else:
            raise UnknownTextError(key)
