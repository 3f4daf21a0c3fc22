"""Asks that pcscd be started anew when nothing else has brought the reader back.

The daemon cannot do it: it has no right beyond its own files. It leaves an empty file in its runtime directory, and a
unit with rights of its own watches for that file, removes it and restarts pcscd. A file carries no argument, so whoever
takes the daemon over gains that one thing, at the rate the unit allows.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from gatewayd.clock import Clock

LOOK_S = 1.0  # between two looks at the reader
LONGEST_PAUSE_S = 960.0  # between two requests: what four restarts did not mend, somebody must look at

log = logging.getLogger(__name__)


class PcscdRestart:
    """Asks after the reader has had a problem for so long, and again after twice as long each time."""

    def __init__(self, clock: Clock, request: Path, after_s: float, asked: Callable[[], None]) -> None:
        """`request` is the file the unit watches, `asked` is called for each request."""
        self._clock = clock
        self._request = request
        self._after_s = after_s
        self._asked = asked

    async def run(self, has_problem: Callable[[], bool]) -> None:
        """Look at the reader for as long as the daemon runs."""
        began: float | None = None
        pause_s = self._after_s
        while True:
            if not has_problem():
                if began is not None:
                    self.withdraw()
                began, pause_s = None, self._after_s
            elif began is None:
                began = self._clock.monotonic()
            elif self._clock.monotonic() - began >= pause_s:
                self.ask()
                began, pause_s = self._clock.monotonic(), min(2 * pause_s, LONGEST_PAUSE_S)
            await self._clock.sleep(LOOK_S)

    def withdraw(self) -> None:
        """Take a request back that was not answered yet: the reader came back, and somebody may be using it."""
        with contextlib.suppress(OSError):
            self._request.unlink()

    def ask(self) -> None:
        """Leave the file. One that still lies there was not seen by anybody, which is worth a warning."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(self._request, flags, 0o600))
        except FileExistsError:
            log.warning("nobody answers the request to restart pcscd", extra={"request": str(self._request)})
            return
        except OSError as error:
            log.warning("cannot ask for a restart of pcscd: %s", error.strerror)
            return
        self._asked()
        log.warning("asked for a restart of pcscd: the reader has been unusable for too long")
