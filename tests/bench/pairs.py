"""Pairs: one pass of the floor and one whole reset, in turn the one first and the other."""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict

from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE

from tests.bench import floor
from tests.bench.figures import MS, Pair
from tests.bench.floor import Floor, Sums
from tests.rig import front_end, metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import Attempt, FrontEnd
from tests.rig.process import RigError
from tests.rig.stack import Stack

USER_PIN, PASSWORD = "1357", "SAKURA2026KAIJOU"

APDUS, CALLS, COMMITS = (
    "gatewayd_apdu_duration_seconds",
    "gatewayd_central_request_seconds",
    "gatewayd_journal_commit_seconds",
)
LATER = 1  # commit of a reset after its last view: that the centre has the report
WAITS, STEPS = "gatewayd_reader_lock_wait_seconds", "gatewayd_step_duration_seconds"


class Seen:
    """The daemon's counters at one moment, seconds and numbers."""

    def __init__(self, url: str) -> None:
        """Scrape."""
        self._families = metrics.scrape(url)

    def total(self, sample: str) -> float:
        """Return the sum of a sample over all labels."""
        return metrics.value(self._families, sample)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return a histogram's sums by one label."""
        found: dict[str, float] = defaultdict(float)
        for sample in self._families[name].samples if name in self._families else ():
            if sample.name == f"{name}_sum":
                found[sample.labels[label]] += sample.value
        return found


class Pairs:
    """Makes them, on a running stack whose kiosk is idle."""

    def __init__(self, stack: Stack, front: FrontEnd, floor: Floor) -> None:
        self._stack = stack
        self._front = front
        self._floor = floor
        self._citizen = Citizen(stack, front, USER_PIN)
        self._counts: Counter[tuple[int, int, int]] = Counter()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Commands, calls, and commits until the end, of most resets; some meet with a question of the daemon's own."""
        return self._counts.most_common(1)[0][0] if self._counts else (0, floor.CALLS, floor.COMMITS)

    async def make(self, number: int) -> Pair:
        """Pass the floor and make a reset, in turn the one first and the other."""
        citizen = self._citizen
        citizen.reserve()
        citizen.place()
        await self._front.until_status(lambda status: status.card_present)
        _, _, commits = self.counts
        sums = await self._pass(commits) if number % 2 else None
        before = Seen(self._stack.gatewayd.metrics_url)
        inputs, attempt = await self._reset()
        sums = sums or await self._pass(commits)
        await citizen.leave(attempt)
        await self._front.idle()
        after = Seen(self._stack.gatewayd.metrics_url)
        return self._compared(sums, inputs, before, after)

    async def _pass(self, commits: int) -> Sums:
        gc.collect()
        return await self._floor.run(commits)

    async def _reset(self) -> tuple[dict[str, float], Attempt]:
        gc.collect()
        begun = time.perf_counter()
        attempt = await self._front.attempt()
        await attempt.until(front_end.ENTER_USER_PIN)
        read = time.perf_counter()
        await attempt.user_pin(USER_PIN)
        await attempt.until(front_end.ENTER_NEW_PASSWORD)
        checked = time.perf_counter()
        await attempt.new_password(PASSWORD)
        view = await attempt.until(front_end.REMOVE_CARD)
        done = time.perf_counter()
        if view.outcome != OUTCOME_DONE:
            raise RigError(f"a reset ended otherwise: {view}")
        return {"start": read - begun, "PIN": checked - read, "password": done - checked}, attempt

    def _compared(self, sums: Sums, inputs: dict[str, float], before: Seen, after: Seen) -> Pair:
        def spent(sample: str) -> float:
            return after.total(sample) - before.total(sample)

        def spent_by(name: str, label: str) -> dict[str, float]:
            earlier = before.by(name, label)
            found = {key: MS * (value - earlier[key]) for key, value in after.by(name, label).items()}
            return {key: value for key, value in found.items() if value}

        commits = round(spent(f"{COMMITS}_count"))
        counts = round(spent(f"{APDUS}_count")), round(spent(f"{CALLS}_count")), commits - LATER
        self._counts[counts] += 1
        whole = sum(inputs.values())
        parts = {
            "card": spent(f"{APDUS}_sum"),
            "connect": spent(f"{WAITS}_sum"),
            "centre": spent(f"{CALLS}_sum"),
            "journal": spent(f"{COMMITS}_sum") * (commits - LATER) / commits,
        }
        parts["rest"] = whole - sum(parts.values())
        floor = {"card": sums.card, "connect": sums.connection, "centre": sums.calls, "journal": sums.commits}
        return Pair(
            counts=counts,
            floor_counts=(sums.apdus, sums.call_count, sums.commit_count),
            floor=MS * sums.seconds,
            reset=MS * whole,
            floor_parts=in_ms(floor),
            reset_parts=in_ms(parts),
            steps=spent_by(STEPS, "step"),
            central=spent_by(CALLS, "method"),
            inputs=in_ms(inputs),
        )


def in_ms(seconds: dict[str, float]) -> dict[str, float]:
    """Return the same in milliseconds."""
    return {name: MS * value for name, value in seconds.items()}
