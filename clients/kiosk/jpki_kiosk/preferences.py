"""How one citizen wants the screen: kept for the visit, forgotten at its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a template is told beside the screen."""

    language: str = "ja"  # a catalogue's name: "zh_Hans"
    easy: bool = False  # やさしい日本語; means something in ja only
    furigana: bool = False  # in ja only
    size: str = "standard"  # or "large"
    theme: str = "standard"  # or "contrast"

    @property
    def lang(self) -> str:
        """The language as HTML names it (BCP 47): "zh-Hans"."""
        return self.language.replace("_", "-")


_SET: Mapping[str, Mapping[str, Any]] = {
    **{f"size-{size}": {"size": size} for size in ("standard", "large")},
    **{f"theme-{theme}": {"theme": theme} for theme in ("standard", "contrast")},
}
_LANGUAGE = "language-"


def changed(preferences: Preferences, press: str, languages: Collection[str]) -> Preferences | None:
    """Return the preferences after a press; None when it concerns none of them, or a language there is not."""
    if press == "furigana":
        return replace(preferences, furigana=not preferences.furigana)
    if press == "easy":
        return replace(preferences, easy=not preferences.easy)
    if press in _SET:
        return replace(preferences, **_SET[press])
    language = press.removeprefix(_LANGUAGE)
    if press.startswith(_LANGUAGE) and language in languages:
        return replace(preferences, language=language)
    return None
