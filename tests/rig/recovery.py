"""How long a kiosk takes to be ready again, measured: `make recovery` prints the table, the tests hold the limits.

Measured from the moment at which what was away is started again or goes on (a centre: serves again) until the daemon
says that it is ready. While it is away the daemon's own use of the processor is measured, too. A virtual reader cannot
be unplugged from a running PC/SC service, which reads its configuration once: the reader is away while the service runs
without it, and back when the service is started with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jpkireset.gateway.v1.gateway_service_pb2 import (
    READINESS_PROBLEM_CENTRAL_UNAVAILABLE,
    READINESS_PROBLEM_PCSC_UNAVAILABLE,
    READINESS_PROBLEM_READER_STUCK,
    READINESS_PROBLEM_READER_UNAVAILABLE,
    ReadinessProblem,
    Status,
)

from tests.rig.front_end import FrontEnd
from tests.rig.interrupt import end_in_order
from tests.rig.pcscd import PHONE
from tests.rig.process import BIN, Process, RigError
from tests.rig.progress import Progress
from tests.rig.site import Site
from tests.rig.stack import Stack

ROUNDS = 5
SILENT_ROUNDS = 2  # of a centre that is silent, which takes so long to notice
AWAY_SECONDS = (1.0, 3.0)  # at random, so that it does not always end at the same point of a pause of the daemon's
NOTICE_SECONDS = 30.0
PATIENCE_SECONDS = 30.0  # longer than any goal, so that a slow recovery is a figure and no exception
MOST_BUSY = 0.05  # of a core
TICKS = os.sysconf("SC_CLK_TCK")
USER_TIME, SYSTEM_TIME = 13, 14  # proc(5), /proc/PID/stat: fields 14 and 15
HOLDER = Path(__file__).with_name("holder.py")


@dataclass
class Figures:
    """What was measured of one kind of absence."""

    goal: float  # seconds
    noticed: list[float] = field(default_factory=list)  # seconds until it was told
    back: list[float] = field(default_factory=list)  # seconds until ready
    busy: list[float] = field(default_factory=list)  # share of a core while away

    @property
    def good(self) -> bool:
        """Whether every goal is reached."""
        return max(self.back) <= self.goal and max(self.busy) < MOST_BUSY

    def row(self, name: str) -> list[str]:
        """Return the table's line."""
        return [
            name,
            f"{statistics.median(self.noticed):.2f} s",
            f"{statistics.median(self.back):.2f} s",
            f"{max(self.back):.2f} s",
            f"{len(self.back)}",
            f"≤ {self.goal:g} s",
            f"{max(self.busy):.1%}",
            "" if self.good else "missed",
        ]


HEADS = ("what", "told after", "back: median", "worst", "of", "goal", "processor", "")


class Recovery:
    """Takes parts of a running stack away and brings them back. Each measurement is one round, added to the figures."""

    def __init__(self, stack: Stack, front: FrontEnd) -> None:
        self._stack = stack
        self._front = front
        self.figures: dict[str, Figures] = {}

    @property
    def rounds(self) -> Sequence[Callable[[], Awaitable[Figures]]]:
        """Every kind of absence but that of a silent centre."""
        return (self.pcscd_killed, self.pcscd_stopped, self.pcscd_frozen, self.reader, self.centre)

    async def pcscd_killed(self) -> Figures:
        """SIGKILL."""
        return await self._pcscd("pcscd, SIGKILL", signal.SIGKILL)

    async def pcscd_stopped(self) -> Figures:
        """SIGTERM."""
        return await self._pcscd("pcscd, SIGTERM", signal.SIGTERM)

    async def pcscd_frozen(self) -> Figures:
        """SIGSTOP, and SIGCONT."""
        pcscd = self._stack.pcscd
        return await self._measure(
            "pcscd, SIGSTOP and SIGCONT",
            5.0,
            lambda: pcscd.kill(signal.SIGSTOP),
            READINESS_PROBLEM_READER_STUCK,
            lambda: pcscd.kill(signal.SIGCONT),
        )

    async def reader(self) -> Figures:
        """The service runs without the reader meanwhile."""
        pcscd = self._stack.pcscd

        def unplug() -> None:
            pcscd.stop()
            pcscd.resume([PHONE], wait=False)

        def plug_in() -> None:
            pcscd.stop()
            pcscd.resume(wait=False)

        return await self._measure("reader", 2.0, unplug, READINESS_PROBLEM_READER_UNAVAILABLE, plug_in)

    async def centre(self) -> Figures:
        """SIGKILL."""
        centrald = self._stack.centrald
        return await self._measure(
            "centre, SIGKILL", 10.0, centrald.kill, READINESS_PROBLEM_CENTRAL_UNAVAILABLE, centrald.start
        )

    async def centre_frozen(self) -> Figures:
        """SIGSTOP, and SIGCONT; a centre that is silent is noticed with the next question, after half a minute."""
        centrald = self._stack.centrald
        return await self._measure(
            "centre, SIGSTOP and SIGCONT",
            10.0,
            lambda: centrald.signal(signal.SIGSTOP),
            READINESS_PROBLEM_CENTRAL_UNAVAILABLE,
            lambda: centrald.signal(signal.SIGCONT),
            notice=90.0,
        )

    async def _pcscd(self, name: str, number: signal.Signals) -> Figures:
        pcscd = self._stack.pcscd
        return await self._measure(
            name, 5.0, lambda: pcscd.kill(number), READINESS_PROBLEM_PCSC_UNAVAILABLE, lambda: pcscd.resume(wait=False)
        )

    async def _measure(
        self,
        name: str,
        goal: float,
        away: Callable[[], None],
        problem: ReadinessProblem.ValueType,
        back: Callable[[], object],
        *,
        notice: float = NOTICE_SECONDS,
    ) -> Figures:
        figures = self.figures.setdefault(name, Figures(goal))
        daemon = self._stack.gatewayd.process
        await self._front.ready()
        begun = time.monotonic()
        away()
        try:
            await self._until(lambda status: problem in status.problems, notice)
            figures.noticed.append(time.monotonic() - begun)
            with busy(daemon.pid, figures.busy):
                await asyncio.sleep(random.uniform(*AWAY_SECONDS))
        finally:
            back()
            begun = time.monotonic()
        await self._until(lambda status: status.ready, PATIENCE_SECONDS)
        figures.back.append(time.monotonic() - begun)
        if self._stack.gatewayd.process is not daemon or not daemon.running:
            raise RigError("the daemon did not live through it")
        return figures

    async def _until(self, wanted: Callable[[Status], bool], seconds: float) -> None:
        await self._front.until_status(wanted, seconds)


@contextlib.contextmanager
def busy(pid: int, into: list[float]) -> Iterator[None]:
    """Add which share of a core a process uses during the block."""
    begun, used = time.monotonic(), _processor_seconds(pid)
    yield
    into.append((_processor_seconds(pid) - used) / (time.monotonic() - begun))


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    first = 3  # the number of the first field after the name
    return sum(int(fields[field + 1 - first]) for field in (USER_TIME, SYSTEM_TIME)) / TICKS


@contextlib.contextmanager
def held(stack: Stack, reader: str) -> Iterator[Process]:
    """Let another program hold the card in a reader during the block, or until it is ended."""
    log = stack.log_directory / "holder.log"
    holder = Process("holder", [BIN / "python", "-P", HOLDER, reader], log=log, env=stack.pcscd.environment)
    with holder:
        holder.wait_for_event("holding")
        yield holder


async def measure(rounds: int, progress: Progress) -> bool:
    """Measure every kind of absence and print the table; return whether every goal is reached."""
    with tempfile.TemporaryDirectory() as directory:
        site = Site.make(Path(directory) / "site", ["locked"])
        with Stack(Path(directory) / "stack", site=site) as stack:
            progress.done("everything serves")
            async with FrontEnd(stack.gatewayd.socket) as front:
                recovery = Recovery(stack, front)
                for number in range(1, rounds + 1):
                    for one in recovery.rounds:
                        await one()
                    if number <= SILENT_ROUNDS:
                        await recovery.centre_frozen()
                    progress.done(f"round {number} of {rounds}")
    progress.table(HEADS, [figures.row(name) for name, figures in recovery.figures.items()])
    return all(figures.good for figures in recovery.figures.values())


def main() -> int:
    """Measure; exit code 1 when a goal is missed."""
    end_in_order()
    parser = argparse.ArgumentParser(description="Measure how long a kiosk takes to be ready again.")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or ROUNDS))
    progress = Progress()
    try:
        return 0 if asyncio.run(measure(parser.parse_args().rounds, progress)) else 1
    except (RigError, TimeoutError) as error:
        progress.failed(str(error) or "not ready in time")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
