"""Whether a connection that is looked at from time to time was lost or made since, pure."""

from __future__ import annotations


class Sight:
    """Remembers the last glance."""

    def __init__(self) -> None:
        self._connected = True  # so that a connection that is lost before the first glance is told, too
        self._answers = 0

    def changed(self, *, connected: bool, answers: int) -> bool:
        """Take a glance: whether there is a connection now, and how many answers there were so far.

        Says yes as well for a connection that was made, used and lost between two glances.
        """
        was, self._connected = self._connected, connected
        heard, self._answers = answers != self._answers, answers
        return connected != was or (heard and not connected)
