"""Looks at every screen that a person comes by, once each, in every language and way that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.rig.looks import examined, prefer
from tests.rig.visitor import Look, Visitor

OF_AXE = "Applying inline style violates"  # axe tries to, and is refused as everybody is
LONG = os.environ.get("LONG_SCREENS") == "1"
HOME = ("theme-standard", "size-standard", "language-ja")
WAYS: Sequence[tuple[str, ...]] = (("language-en",), ("language-ja",))
LONG_WAYS: Sequence[tuple[str, ...]] = (
    *(
        (f"language-{language}", f"size-{size}", f"theme-{theme}")
        for language in ("en", "zh_Hans", "ko", "ja")
        for size in ("large", "standard")
        for theme in ("contrast", "standard")
    ),
    *(("furigana",), ("easy",), ("furigana",), ("easy",)),  # on, both, easy alone, none
)

# Screens that last only as long as card or centre are held back, which no part of the kiosk waits for longer than 10 s.
BRIEF = frozenset({"admitting", "reading", "user_pin_busy", "checking", "authorizing", "writing"})


class Examiner:
    """Told of a screen (`Visitor.seen`), it examines what it has not seen yet. `problems` has what was wrong."""

    def __init__(self) -> None:
        self.known: set[Look] = set()
        self.problems: list[str] = []

    def __call__(self, visitor: Visitor) -> None:
        look = visitor.look
        if look in self.known:
            return
        self.known.add(look)
        visitor.expected += (OF_AXE,)
        ways = LONG_WAYS if LONG and look.name not in BRIEF else WAYS
        for way in ways if look.name != "page_in_use" else [()]:
            for press in way:
                prefer(visitor.page, press)
            where = " ".join((look.name, look.code, look.part, *way))
            found = examined(visitor.page)
            if visitor.page.locator(f'#screen[data-name="{look.name}"]:not([inert])').count() == 0:
                break  # it went on while it was looked at
            self.problems += [f"{where}: {problem}" for problem in found]
        if visitor.name != "page_in_use":
            for press in HOME:
                prefer(visitor.page, press)
