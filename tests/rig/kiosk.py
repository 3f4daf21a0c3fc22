"""`make kiosk`: the whole service with a screen, to be played by hand: real parts, a simulated card, and a panel."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Never

from tests.rig.foreground import until_interrupted
from tests.rig.panel import Panel
from tests.rig.playground import Playground
from tests.rig.progress import Progress
from tests.rig.screen import PANEL, KioskScreen
from tests.rig.site import LOCKED, Site
from tests.rig.stack import Stack, publish

DEFAULT_DIRECTORY = ".run-kiosk"
SCREEN_PORT, PANEL_PORT = 8180, 8181
LOOK_S = 0.2
HINTS = """
  The citizen's screen   {screen}
  The panel              {panel}

Open both, side by side. On the panel choose a card and press Reserve; then go through the screen as a citizen would,
and press Place the card when it asks. Every card's PIN is 1357. Ctrl-C stops everything and leaves nothing behind.
The screen is laid out for a touch panel of {size} pixels; KIOSK_PANEL=1080x1920 chooses another.
"""


def main() -> int:
    """Run everything in the foreground until Ctrl-C."""
    return until_interrupted(DEFAULT_DIRECTORY, serve)


def serve(directory: Path, cleanup: contextlib.ExitStack, progress: Progress) -> Never:
    """Start the parts, the screen and the panel, and do what is pressed on the panel."""
    site = Site.make(directory / "issued", [os.environ.get("PERSONA") or LOCKED])
    progress.done("keys, a test authority, a card")
    stack = cleanup.enter_context(contextlib.closing(Stack(directory / "stack", site=site)))
    for line in stack.steps():
        progress.done(line)
    publish(stack)
    size = os.environ.get("KIOSK_PANEL") or PANEL
    screen = KioskScreen(
        stack.gatewayd.socket,
        state=directory / "screen",
        log=stack.log_directory / "jpki-kiosk.log",
        listen=f"127.0.0.1:{os.environ.get('KIOSK_PORT') or SCREEN_PORT}",
        panel=size,
    )
    cleanup.callback(screen.close)
    screen.start()
    progress.done(f"jpki-kiosk on {screen.address}")
    panel = Panel(Playground(stack, screen), int(os.environ.get("PANEL_PORT") or PANEL_PORT))
    cleanup.callback(panel.close)
    address = panel.start()
    progress.note(HINTS.format(screen=screen.address, panel=address, size=size))
    while True:
        panel.perform(LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
