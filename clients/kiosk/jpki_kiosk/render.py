"""Screens as HTML: the templates of `templates/` with the texts of one citizen."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from jpki_kiosk.preferences import Preferences
from jpki_kiosk.screens import Screen
from jpki_kiosk.texts import Catalogues

TEMPLATES = Path(__file__).with_name("templates")
DOCUMENT = "page.html"
WARNING = "_warning.html"
COUNTDOWN = Markup("<span data-countdown></span>")  # the page counts, from the seconds it is given


class Renderer:
    """Reads templates and catalogues once; a missing text or a name that no screen has is an error."""

    def __init__(self, *, panel: str) -> None:
        self._panel = panel
        self._catalogues = Catalogues.load()
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            auto_reload=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that there are, Japanese first."""
        return self._catalogues.languages

    def fragment(self, screen: Screen, preferences: Preferences) -> str:
        """Return the element that stands for the whole screen."""
        return self._render(screen.template, screen, preferences, token="")

    def warning(self, screen: Screen, preferences: Preferences) -> str:
        """Return what warns of a screen that is about to end by itself."""
        return self._render(WARNING, screen, preferences, token="")

    def document(self, screen: Screen, preferences: Preferences, *, token: str) -> str:
        """Return the document with this screen; without a token it is one that may do nothing."""
        return self._render(DOCUMENT, screen, preferences, token=token)

    def _render(self, template: str, screen: Screen, preferences: Preferences, *, token: str) -> str:
        words = self._catalogues.words(preferences.language, easy=preferences.easy, furigana=preferences.furigana)
        return self._templates.get_template(template).render(
            screen=screen,
            prefs=preferences,
            panel=self._panel,
            token=token,
            countdown=COUNTDOWN,
            **words.functions(),
        )
