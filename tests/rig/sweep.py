"""One fault at each command of a whole reset, one attempt for each, and what must hold whatever the fault is."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_READER_STUCK
from jpkireset.gateway.v1.reason_pb2 import Reason
from jpkireset.gateway.v1.reset_service_pb2 import CARD_REQUEST_LIFT, OUTCOME_DONE, OUTCOME_NOT_DONE, Outcome

from tests.rig.citizen import KIOSK, Citizen
from tests.rig.front_end import FrontEnd
from tests.rig.obedient import POLL_SECONDS, SECONDS, Visit, reserved, visit
from tests.rig.process import BIN
from tests.rig.secrecy import PASSWORD_LENGTH, Planted
from tests.rig.site import Site
from tests.rig.stack import Stack

IMPATIENT = Path(__file__).with_name("impatient.py")
USER_PIN = "1357"
OTHER = "forgotten"  # the card that a swap brings
LETTERS = string.ascii_uppercase + string.digits
COUNTED = {"EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER"}  # and a VERIFY with a value
NEW_POWER = {"power_on", "power_off", "reset", "insert"}  # what a new connection begins with


class BrokenInvariant(AssertionError):
    """What no fault may bring about."""


@dataclass(frozen=True)
class Strike:
    """What became of an attempt with a fault."""

    number: int  # of the command that was struck, from 1
    command: str
    ending: str
    asked_to_lift: bool


class Lane:
    """One kiosk with its own PC/SC service, centre and cards: several of them share the waiting."""

    def __init__(self, stack: Stack, front: FrontEnd, planted: Planted) -> None:
        self._stack = stack
        self._front = front
        self._planted = planted

    @classmethod
    @asynccontextmanager
    async def on(cls, stack: Stack) -> AsyncIterator[Lane]:
        """Use a running stack; at the end no secret is in any file, log or metric."""
        planted = Planted(pins=[USER_PIN])
        async with FrontEnd(stack.gatewayd.socket) as front:
            await front.ready()
            yield cls(stack, front, planted)
        if found := planted.found(stack.directory, {"metrics": stack.scraped()}):
            raise BrokenInvariant(f"secrets were told: {found}")

    async def undisturbed(self) -> list[str]:
        """Serve a citizen without a fault; return the names of the commands it took."""
        citizen = Citizen(self._stack, self._front, USER_PIN)
        password = self._new_password()
        await reserved(citizen)
        done = await visit(citizen, password)
        self._demand(done.last.outcome == OUTCOME_DONE, done, "the next citizen is not served")
        self._demand(citizen.references["signing_password"]["value"] == password, done, "done, and it is not")
        return citizen.commands()

    async def struck(self, number: int, command: str, kind: str, point: str, **more: Any) -> Strike:
        """Serve a citizen with a fault at the command of this number and name. Raises BrokenInvariant."""
        citizen = Citizen(self._stack, self._front, USER_PIN)
        cardsim, password = self._stack.cardsim, self._new_password()
        pid = self._stack.gatewayd.process.pid
        await reserved(citizen)
        before = citizen.references["signing_password"]["value"]
        since = cardsim.position()
        fault = cardsim.plan(f"apdu#{number}", kind, point, slot=KIOSK, **more)
        done = await visit(citizen, password, self._late_answer_is_over if kind == "delay" else None)
        (told,) = (each for each in cardsim.faults() if each["id"] == fault)
        self._demand(told["state"] == "fired", done, "the fault has not fired")
        cardsim.clear_faults()

        ledger = cardsim.entries(since)
        at = next(index for index, entry in enumerate(ledger) if entry["event"] == "fault")
        self._demand(citizen.verifications() <= done.presses, done, "a VERIFY that nobody ordered")
        self._demand(not _commands_before_power(ledger[at + 1 :]), done, "a command after the fault")
        self._demand(not _counted(ledger, OTHER), done, "a counted command for another card")
        self._check_claim(done, before, password, citizen.references["signing_password"])
        self._demand(self._stack.gatewayd.process.pid == pid and self._stack.gatewayd.running, done, "a restart")
        record = await self._front.attempt_record(done.attempt_id)
        self._demand((record.outcome, record.reason) == (done.last.outcome, done.last.reason), done, "another record")
        return Strike(number, command, _ending(done), CARD_REQUEST_LIFT in done.requests)

    async def _late_answer_is_over(self) -> None:
        """Wait until the answer that is late has come, and the daemon has done what it does about it."""
        async with asyncio.timeout(SECONDS):
            while any(fault["active"] for fault in self._stack.cardsim.faults()):
                await asyncio.sleep(POLL_SECONDS)
        await self._front.until_status(lambda status: READINESS_PROBLEM_READER_STUCK not in status.problems)

    def _check_claim(self, done: Visit, before: str, new: str, after: dict[str, Any]) -> None:
        if done.last.outcome == OUTCOME_DONE:
            self._demand((after["value"], after["tries"]) == (new, 5), done, "done, and it is not")
        if done.last.outcome == OUTCOME_NOT_DONE:
            self._demand(after["value"] == before, done, "not done, and it is")

    def _new_password(self) -> str:
        password = "A1" + "".join(secrets.choice(LETTERS) for _ in range(PASSWORD_LENGTH - 2))
        self._planted.passwords.append(password)
        return password

    def _demand(self, holds: bool, done: Visit, what: str) -> None:
        if not holds:
            raise BrokenInvariant(f"{what}: attempt {done.attempt_id}, {_ending(done)}")


@contextmanager
def lanes(directory: Path, site: Site, count: int) -> Iterator[list[Stack]]:
    """Bring up kiosks whose daemons have little patience with a card."""
    stacks = [
        Stack(directory / f"lane-{number}", site=site, log_level="debug", daemon=(BIN / "python", "-P", IMPATIENT))
        for number in range(count)
    ]
    try:
        for stack in stacks:
            stack.start()
        yield stacks
    finally:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Stack.close, stacks))


async def sweep(stacks: Sequence[Stack], kind: str, point: str, *, every: bool, **more: Any) -> list[Strike]:
    """Strike each command of a whole reset once, and after each serve a citizen. Raises ExceptionGroup.

    Without `every` only the last of several commands of one name in a row is struck.
    """
    strikes: list[Strike] = []

    async def run(stack: Stack) -> None:
        async with Lane.on(stack) as lane:
            while waiting:
                number, command = waiting.pop(0)
                strikes.append(await lane.struck(number, command, kind, point, **more))
                await lane.undisturbed()

    async with Lane.on(stacks[0]) as lane:
        commands = await lane.undisturbed()
    waiting = [
        (number, command)
        for number, (command, following) in enumerate(zip_longest(commands, commands[1:]), start=1)
        if every or command != following
    ]
    async with asyncio.TaskGroup() as tasks:
        for stack in stacks:
            tasks.create_task(run(stack))
    return sorted(strikes, key=lambda strike: strike.number)


def table(strikes: Sequence[Strike]) -> list[str]:
    """Return a line for each kind of ending."""
    endings = Counter(strike.ending for strike in strikes)
    return [
        f"{count:3} × {ending}: " + ", ".join(f"{s.number} {s.command}" for s in strikes if s.ending == ending)
        for ending, count in endings.most_common()
    ]


def _ending(done: Visit) -> str:
    outcome = Outcome.Name(done.last.outcome).removeprefix("OUTCOME_").lower()
    reason = Reason.Name(done.last.reason).removeprefix("REASON_").lower()
    return outcome if reason == "unspecified" else f"{outcome}, {reason}"


def _commands_before_power(entries: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    for entry in entries:
        if entry["event"] in NEW_POWER:
            break
        if entry["event"] == "apdu":
            found.append(entry["command"])
    return found


def _counted(entries: Sequence[dict[str, Any]], card: str) -> list[str]:
    """The commands with a counter that this card was sent."""
    return [
        entry["command"]
        for entry in entries
        if entry["event"] == "apdu"
        and entry["card"] == card
        and (entry["command"] in COUNTED or (entry["command"] == "VERIFY" and "[" in entry["apdu"]))
    ]
