"""Puts everything together and serves until a signal comes."""

from __future__ import annotations

from collections.abc import Callable

from jpki_kiosk.config import Config


class CannotServe(Exception):
    """The address or the state directory cannot be used; the message says which and why."""


def run(config: Config, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    raise CannotServe("not built yet")
