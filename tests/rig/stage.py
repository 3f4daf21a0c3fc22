"""Everything a scenario of the screen needs, and how it is put back afterwards."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.rig.browser import Chromium
from tests.rig.process import ROOT
from tests.rig.scenarios import PERSONAS
from tests.rig.screen import KioskScreen
from tests.rig.site import Site
from tests.rig.stack import Stack
from tests.rig.visitor import Visitor

LEAPING = (sys.executable, "-P", ROOT / "tests/rig/leap.py")
LEAPING_SCREEN = (sys.executable, "-P", ROOT / "tests/rig/leap_screen.py")
EXPECTED = ("net::ERR_", "409 (Conflict)")  # a server that is stopped, and the second page's own answer


def stack_of(site: Site, directory: Path) -> Stack:
    """All parts, with every card that people bring, and a daemon whose clock leaps when it is told to."""
    site.add(*PERSONAS)
    return Stack(directory, site=site, log_level="debug", daemon=LEAPING)


def screen_of(stack: Stack) -> KioskScreen:
    """The screen's server of a stack that runs, at its most talkative, on a clock that leaps."""
    state, log = stack.directory / "screen", stack.log_directory / "jpki-kiosk.log"
    return KioskScreen(stack.gatewayd.socket, state=state, log=log, log_level="debug", program=LEAPING_SCREEN)


@dataclass(frozen=True)
class Stage:
    """A stack, a screen and a browser, for one visit after the other."""

    stack: Stack
    screen: KioskScreen
    browser: Chromium

    @contextlib.contextmanager
    def visit(self, seen: Callable[[Visitor], None] = lambda _: None) -> Iterator[Visitor]:
        """A citizen at an idle kiosk, with a locked card in hand and no reservation. Afterwards all is as before.

        Raises AssertionError when the page failed, or wrote anything into its console that it should not.
        """
        stack, sim = self.stack, self.stack.cardsim
        issued = [(shown["card"], shown["references"]) for shown in sim.show_all()]
        failures: list[str] = []
        page = self.browser.page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: failures.append(message.text))
        visitor = Visitor(page, stack, self.screen)
        visitor.seen = seen
        try:
            visitor.come()
            visitor.at("idle")
            yield visitor
        finally:
            visitor.page.close()  # which need not be the one it began with
            sim.clear_faults()
            if issued != [(shown["card"], shown["references"]) for shown in sim.show_all()]:
                stack.renew_cards()
            else:
                sim.remove_all()
            self.screen.close()
            shutil.rmtree(self.screen.state)
            visitor.until_status(lambda now: now.ready and not (now.running_attempt_id or now.card_present))
            self.screen.start()
        expected = (*EXPECTED, *visitor.expected)
        if unexpected := [text for text in failures if not any(word in text for word in expected)]:
            raise AssertionError(f"the page's console: {unexpected}")
