"""The view: what a front-end is shown after every change."""

from __future__ import annotations

from dataclasses import dataclass

from gatewayd.dialogue.machine import Shown


@dataclass(frozen=True, slots=True)
class View:
    """An immutable picture of an attempt."""

    number: int  # 1, 2, 3 …
    attempt_id: str
    shown: Shown
    seconds_left: float | None  # until the present step ends by itself
