"""The kiosk's screen as a real process: the local server that a browser is pointed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.rig.parts import Part
from tests.rig.process import BIN

PANEL = "1024x768"  # pixels; the smallest


class KioskScreen(Part):
    """`jpki-kiosk`, a client of the daemon's socket."""

    name = "jpki-kiosk"
    ready_event = "serving"

    def __init__(
        self,
        socket: Path,
        *,
        state: Path,
        log: Path,
        listen: str = "127.0.0.1:0",
        panel: str = PANEL,
        log_level: str = "info",
        program: Sequence[str | Path] = (BIN / "jpki-kiosk",),
    ) -> None:
        super().__init__(log)
        self.socket = socket
        self.state = state
        self.listen = listen
        self.panel = panel
        self.log_level = log_level
        self.program = program
        self.address = ""

    def command(self) -> Sequence[str | Path]:
        """See `Part`."""
        return [
            *self.program,
            f"--gateway=unix:{self.socket}",
            f"--listen={self.listen}",
            f"--state-directory={self.state}",
            f"--panel={self.panel}",
            f"--log-level={self.log_level}",
        ]

    def environment(self) -> Mapping[str, str]:
        """See `Part`."""
        return {}

    def serving(self, event: dict[str, Any]) -> None:
        """See `Part`. The address is kept for the next start: a page knows where it came from."""
        self.address = event["address"]
        self.listen = self.address.removeprefix("http://")
