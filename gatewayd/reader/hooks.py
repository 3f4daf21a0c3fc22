"""What the reader tells operators. Called on its threads: quick, and without raising."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatewayd.errors import (
    CardAbsent,
    DeadlineExceeded,
    LinkError,
    ReaderHeld,
    ReaderMissing,
    ServiceLost,
    TransmitFailed,
)

_LOCK_FAILURES: dict[type[LinkError], str] = {
    CardAbsent: "card_absent",
    DeadlineExceeded: "deadline",
    ReaderHeld: "reader_held",
    ReaderMissing: "reader_missing",
    ServiceLost: "service_lost",
    TransmitFailed: "card_unreadable",
}
LOCK_FAILURE_REASONS = frozenset(_LOCK_FAILURES.values())


def lock_failure_reason(error: LinkError) -> str:
    """Return a word out of `LOCK_FAILURE_REASONS` for what kept the reader lock from being taken."""
    return _LOCK_FAILURES[type(error)]


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ReaderHooks:
    """The reader lock is held from connect to disconnect; its wait begins when the first job is asked for."""

    lock_taken: Callable[[], None] = _nothing
    lock_released: Callable[[], None] = _nothing
    lock_waited: Callable[[float], None] = _nothing  # seconds
    lock_held: Callable[[float], None] = _nothing  # seconds
    lock_failed: Callable[[str], None] = _nothing  # a word out of LOCK_FAILURE_REASONS
    reconnected: Callable[[], None] = _nothing  # pcscd is back
