"""`make demo`: one whole reset on the real PC/SC stack. Each line with a tick was checked; one that fails ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from jpkireset.gateway.v1 import reset_service_pb2
from jpkireset.gateway.v1.reason_pb2 import REASON_RESERVATION_NOT_FOUND

from tests.rig import front_end, metrics
from tests.rig.directory import claimed
from tests.rig.front_end import Attempt, FrontEnd
from tests.rig.interrupt import end_in_order
from tests.rig.opensc import SIGNING_TOKEN, OpenSC
from tests.rig.pcscd import PHONE
from tests.rig.phone import reserve
from tests.rig.process import RigError
from tests.rig.progress import Progress
from tests.rig.secrecy import Planted
from tests.rig.stack import Stack

DEFAULT_DIRECTORY = ".run-demo"
CARD = "locked"
USER_PIN = "1357"
NEW_PASSWORD = "SAKURA2026KAIJOU"
WRITES = {"EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER"}
DOCUMENT = b"a tax return\n"
FULL_TRIES = 5
SIGNING_PASSWORD = "signing_password"


class ClaimError(Exception):
    """Something the demo claims does not hold."""


class Demo:
    """The steps of the demo, on a running stack."""

    def __init__(self, stack: Stack, progress: Progress) -> None:
        self._stack = stack
        self._progress = progress
        self._opensc = OpenSC(stack.directory / "opensc", stack.pcscd.environment, stack.pcscd.readers[PHONE].name)
        self._before: dict[str, Any] = {}

    def _claim(self, claim: str, holds: object) -> None:
        """Print what was claimed and checked. Raises ClaimError when it does not hold."""
        if not holds:
            raise ClaimError(claim)
        self._progress.done(claim)

    def at_home_before(self) -> None:
        """Read the locked card with foreign software; it lies on the phone's reader."""
        tries = self._opensc.tries_left().signing_password
        self._claim(f"OpenSC reads {tries} tries left of the signing password", tries == 0)
        self._before = self._stack.cardsim.show(CARD)

    async def without_reservation(self, front: FrontEnd) -> None:
        """Try without a reservation: refused, and nothing that writes reaches the card."""
        before = self._stack.cardsim.position()
        self._stack.cardsim.remove("phone")
        await front.ready()
        attempt = await self._to_pin(front)
        view = await attempt.until(front_end.REMOVE_CARD)
        self._claim(
            "gatewayd ends the attempt as not done: RESERVATION_NOT_FOUND",
            (view.outcome, view.reason) == (reset_service_pb2.OUTCOME_NOT_DONE, REASON_RESERVATION_NOT_FOUND),
        )
        self._stack.cardsim.remove("kiosk")
        await attempt.end()
        commands = self._stack.cardsim.commands(since=before)
        self._claim(
            f"the card saw {len(commands)} commands and no {' or '.join(sorted(WRITES))}",
            commands and not WRITES.intersection(commands),
        )

    def reservation(self) -> None:
        """Reserve as the phone would."""
        self._stack.cardsim.insert(CARD, "phone")
        said = reserve(self._stack.environment, USER_PIN).strip().splitlines()
        self._claim("jpki-phone reserves with the card, its PIN and its signature", said)
        self._progress.quote(said)
        self._stack.cardsim.remove("phone")

    async def reset(self, front: FrontEnd) -> str:
        """Reset the signing password through gRPC and return the attempt's id."""
        before = self._stack.cardsim.position()
        times_before = metrics.steps(metrics.scrape(self._stack.gatewayd.metrics_url))
        attempt = await self._to_pin(front)
        view = await attempt.until(front_end.ENTER_NEW_PASSWORD, front_end.REMOVE_CARD)
        self._claim("the PIN is right and the centre finds the reservation", view.state == front_end.ENTER_NEW_PASSWORD)
        await attempt.new_password(NEW_PASSWORD)
        view = await attempt.until(front_end.REMOVE_CARD)
        outcome = reset_service_pb2.Outcome.Name(view.outcome)
        self._claim(f"gatewayd ends the attempt with {outcome}", view.outcome == reset_service_pb2.OUTCOME_DONE)
        self._stack.cardsim.remove("kiosk")
        await attempt.end()
        commands = self._stack.cardsim.commands(since=before)
        once = all(commands.count(write) == 1 for write in WRITES)
        self._claim(f"the card saw {len(commands)} commands, each of {' and '.join(sorted(WRITES))} once", once)
        times = metrics.steps(metrics.scrape(self._stack.gatewayd.metrics_url))
        spent = {step: 1000 * (seconds - times_before.get(step, 0)) for step, seconds in times.items()}
        self._progress.table(
            ["gatewayd's own step", "ms"],
            [*((step, f"{ms:.1f}") for step, ms in spent.items()), ("all", f"{sum(spent.values()):.1f}")],
        )
        return attempt.id

    def at_home_after(self) -> None:
        """Use the new password with foreign software, and compare the card with what it was."""
        self._stack.cardsim.insert(CARD, "phone")
        tries = self._opensc.tries_left().signing_password
        self._claim(f"OpenSC reads {tries} tries left of the signing password", tries == FULL_TRIES)
        signature = self._opensc.sign(SIGNING_TOKEN, 2, NEW_PASSWORD, DOCUMENT)
        certificate = self._opensc.certificate(2, NEW_PASSWORD)
        self._claim(
            f"OpenSC's PKCS#11 module signs with the new password; openssl verifies its {len(signature)} bytes",
            self._opensc.verify(certificate, DOCUMENT, signature),
        )
        authority = self._stack.site.central / "authority/sign-ca.pem"
        self._claim("openssl verifies the signing certificate, too", self._opensc.issued_by(certificate, authority))

    def compare(self) -> None:
        """Compare the simulated card's own dump with the one before: one secret has changed, three have not."""
        after = self._stack.cardsim.show(CARD)["references"]
        before = self._before["references"]
        untouched = [name for name in before if name != SIGNING_PASSWORD]
        self._claim(
            f"value and counter as before: {', '.join(untouched)}",
            untouched and all(after[name] == before[name] for name in untouched),
        )
        self._claim("the signing password is the new one", after[SIGNING_PASSWORD]["value"] == NEW_PASSWORD)
        self._progress.table(
            ["secret on the card", "value before", "after", "tries before", "after"],
            [
                (name, old["value"], after[name]["value"], str(old["tries"]), str(after[name]["tries"]))
                for name, old in before.items()
            ],
        )

    def at_the_centre(self, attempt_id: str) -> None:
        """Read the centre's ledger."""
        entries = self._stack.centrald.ledger(attempt_id)
        reported = [entry for entry in entries if entry["verdict"]]
        self._claim(
            "the centre's ledger: one report, and the card's own receipt is valid",
            [entry["verdict"] for entry in reported] == ["valid"] and reported[0]["state_after"] == "used",
        )
        columns = ("at", "event", "state_before", "state_after", "outcome", "verdict")
        self._progress.table(columns, [[str(entry[column] or "") for column in columns] for entry in entries])

    def measured(self) -> None:
        """Look at the daemon's metrics, and for the secrets in everything that was written."""
        counts = metrics.histograms(metrics.scrape(self._stack.gatewayd.metrics_url))
        empty = [name for name, count in counts.items() if not count]
        self._claim(f"{len(counts)} histograms of locks and latency, empty: {empty or 'none'}", counts and not empty)
        planted = Planted([NEW_PASSWORD], [USER_PIN])
        found = planted.found(self._stack.directory, {"metrics": self._stack.scraped()})
        self._claim(f"PIN or password in logs, journal, databases, metrics: {found or 'none'}", not found)

    async def _to_pin(self, front: FrontEnd) -> Attempt:
        """Agree to the terms, place the card, enter the PIN."""
        attempt = await front.attempt()
        await attempt.until(front_end.WAITING_FOR_CARD)
        self._stack.cardsim.insert(CARD, "kiosk")
        await attempt.until(front_end.ENTER_USER_PIN)
        await attempt.user_pin(USER_PIN)
        return attempt


async def perform(stack: Stack, progress: Progress) -> None:
    """Go through all steps. Raises ClaimError, RigError, TimeoutError or AssertionError when one fails."""
    demo = Demo(stack, progress)
    async with FrontEnd(stack.gatewayd.socket) as front:
        with progress.step("At home: a card whose signing password is locked"):
            demo.at_home_before()
        with progress.step("At the kiosk without a reservation"):
            await demo.without_reservation(front)
        with progress.step("At home: a reservation"):
            demo.reservation()
        with progress.step("At the kiosk: the reset, through gRPC"):
            attempt_id = await demo.reset(front)
        with progress.step("At home: the new password, with software nobody here wrote"):
            demo.at_home_after()
        with progress.step("Inside the card, before and after"):
            demo.compare()
        with progress.step("At the centre"):
            demo.at_the_centre(attempt_id)
        with progress.step("At the operator's"):
            demo.measured()


def main() -> int:
    """Run the demo: 0 when everything it claims holds."""
    end_in_order()
    directory = Path(os.environ.get("STACK_DIR") or DEFAULT_DIRECTORY).resolve()
    progress = Progress()
    try:
        with claimed(directory), contextlib.closing(Stack(directory, persona=CARD, insert_into="phone")) as stack:
            with progress.step("Everything starts, privately"):
                for line in stack.steps():
                    progress.done(line)
            asyncio.run(perform(stack, progress))
    except KeyboardInterrupt:
        progress.failed("interrupted")
        return 130
    except (ClaimError, RigError, grpc.RpcError, TimeoutError, AssertionError) as error:
        progress.failed(f"{type(error).__name__}: {error}")
        progress.note(f"logs: {os.path.relpath(directory / 'logs')}")
        return 1
    progress.summary()
    progress.note("\nAll of it holds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
