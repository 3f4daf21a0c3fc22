"""What the table of scenarios is made of, and what several of them do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.rig.process import wait_until
from tests.rig.visitor import SECONDS, Visitor


@dataclass(frozen=True)
class Scenario:
    """One visit, or what is there instead of one. `reasons` are those of the proto that it shows."""

    play: Callable[[Visitor], None]
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.play.__name__

    @property
    def cause(self) -> str:
        """What brings it about: the first line of the function's text."""
        return (self.play.__doc__ or "").strip().splitlines()[0]


class Table(list[Scenario]):
    """Scenarios in the order in which they are told."""

    def of(self, *reasons: str) -> Callable[[Callable[[Visitor], None]], Callable[[Visitor], None]]:
        """Take what is decorated into the table."""

        def add(play: Callable[[Visitor], None]) -> Callable[[Visitor], None]:
            self.append(Scenario(play, reasons))
            return play

        return add


def refused(v: Visitor, reason: str) -> None:
    """The ending tells the reason, beside the card and after it was taken."""
    v.told(reason, "outcome")
    v.lift()
    v.told(reason, "end")


@contextlib.contextmanager
def held(v: Visitor, command: str) -> Iterator[None]:
    """Something makes the kiosk send a command; afterwards the card sits on it until `clear_faults`."""
    fault = v.sim.plan(command, "mute", "before_delivery")
    yield
    wait_until(lambda: v.sim.struck(fault), SECONDS, f"{command} held back")


def let_go(v: Visitor, name: str) -> None:
    """Look at a busy screen while the card is silent, then let it answer."""
    v.at(name)
    v.sim.clear_faults()


def torn(v: Visitor) -> None:
    """Lift the card during the change: it has the new password, and its answer is lost."""
    v.reserve()
    v.to_password()
    v.sim.plan("reset_retry_counter", "tear")
    v.choose()
    v.at("resolving")
