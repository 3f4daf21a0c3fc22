"""The circuit breaker, pure: after a while without any answer calls fail at once, and one at a time asks again."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FAILURES = 3  # in a row, at least
SPAN_S = 10.0  # between the first of them and the last: a whole step rides over a short absence
PAUSE_S = 2.0  # before the next call is tried; shorter than the pauses of those who ask from time to time


class CircuitState(Enum):
    """Whether calls are made."""

    CLOSED = "closed"  # all of them
    HALF_OPEN = "half_open"  # one at a time, to see
    OPEN = "open"  # none


class Circuit:
    """Counts answers and failures to answer; it makes no call and measures no time itself."""

    def __init__(self, monotonic: Callable[[], float], on_change: Callable[[CircuitState], None]) -> None:
        self._monotonic = monotonic
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._since = 0.0  # the first failure in a row while closed, else when the circuit opened
        self._trying = False

    @property
    def state(self) -> CircuitState:
        """The state as of the last call."""
        return self._state

    def admit(self) -> bool:
        """Say whether a call may be made now. Each admitted call ends with one of the three methods below."""
        if self._state is CircuitState.CLOSED:
            return True
        if self._trying or (self._state is CircuitState.OPEN and self._monotonic() - self._since < PAUSE_S):
            return False
        self._trying = True
        self._enter(CircuitState.HALF_OPEN)
        return True

    def answered(self) -> None:
        """Take an answer, whatever it says: the other side is there."""
        self._failures = 0
        self._trying = False
        self._enter(CircuitState.CLOSED)

    def failed(self) -> None:
        """Take a call without an answer."""
        now = self._monotonic()
        if self._state is CircuitState.CLOSED:
            self._since = now if not self._failures else self._since
            self._failures += 1
            if self._failures < FAILURES or now - self._since < SPAN_S:
                return
        elif not self._trying:
            return  # a call from before the circuit opened, or one that was not asked for: it prolongs nothing
        self._trying = False
        self._since = now
        self._enter(CircuitState.OPEN)

    def given_up(self) -> None:
        """Take a call that nobody waits for any more: it says nothing."""
        self._trying = False

    def _enter(self, state: CircuitState) -> None:
        if state is not self._state:
            self._state = state
            self._on_change(state)
