"""Nothing is kept of an attempt or a connection: threads, descriptors and PC/SC contexts stay the same, memory is flat.

`make soak` runs the same for longer, with SOAK_ATTEMPTS and SOAK_CONNECTS. The PC/SC service sees a moved card at once
instead of up to 0.4 s later, so that the daemon works all the time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.rig.citizen import Citizen
from tests.rig.footprint import GRPC_RESERVE, Footprint
from tests.rig.front_end import ENTER_USER_PIN, REMOVE_CARD, FrontEnd
from tests.rig.site import Site
from tests.rig.stack import Stack

ATTEMPTS = int(os.environ.get("SOAK_ATTEMPTS", "5"))
CONNECTS = int(os.environ.get("SOAK_CONNECTS", "300"))
WARM_UP = 3  # rounds after which caches and pools are what they will be
REST_S = 180.0  # for gRPC to end the threads it does not need; our own have ended long before
LOOK_S = 0.1
GROWTH_KIB = 3 * 1024  # in all, whatever the number of rounds
LOOKS = 10  # lines of a long run


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    """In place of the one of all modules."""
    with Stack(
        tmp_path_factory.mktemp("soak") / "stack", site=site, log_level="debug", looks_when_told=True
    ) as running:
        yield running


def look(citizen: Citizen) -> Footprint:
    return Footprint.of(citizen.stack.gatewayd.process.pid, citizen.stack.pcscd.pid)


async def at_rest(citizen: Citizen, wanted: Footprint | None = None) -> Footprint:
    """The footprint while nobody is connected, once it is as wanted; what stays otherwise is seen after a while.

    Nobody is asked meanwhile: each question is work, and keeps gRPC from ending a thread that it has too many.
    """
    await citizen.front.idle()
    await citizen.front.close()
    deadline = time.monotonic() + REST_S
    while not is_at_rest(found := look(citizen), wanted) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
    return found


def is_at_rest(found: Footprint, wanted: Footprint | None) -> bool:
    return found.held == (wanted or found).held and found.pool_threads <= GRPC_RESERVE


async def whole_reset(citizen: Citizen, password: str) -> None:
    citizen.reserve()
    await citizen.leave(await citizen.reset(password))


async def wrong_pin_and_away(citizen: Citizen) -> None:
    """The front-end goes in the middle, the card is lifted after it, and the next entry is right."""
    async with FrontEnd(citizen.stack.gatewayd.socket) as leaving:
        citizen.front, staying = leaving, citizen.front
        attempt = await citizen.to_pin()
        await attempt.user_pin("0000")
        await attempt.until(ENTER_USER_PIN)
    citizen.front = staying
    await staying.until_status(lambda status: status.running_state == REMOVE_CARD)
    citizen.lift()
    await staying.idle()


@pytest.mark.timeout(60 + REST_S + 10 * ATTEMPTS)
async def test_attempts(citizen: Citizen, new_password: str) -> None:
    async def attempts(begin: int, count: int) -> None:
        for done in range(begin, begin + count):
            await whole_reset(citizen, new_password)
            if done % 2:
                await wrong_pin_and_away(citizen)

    await nothing_kept(citizen, "attempts", attempts, WARM_UP, ATTEMPTS)


@pytest.mark.timeout(60 + REST_S + CONNECTS // 20)
async def test_connections(citizen: Citizen) -> None:
    path = citizen.stack.gatewayd.socket

    async def connects(begin: int, count: int) -> None:
        for _ in range(count):
            async with FrontEnd(path) as front:
                await front.status()
            with socket.socket(socket.AF_UNIX) as mute:  # connects and never says a word
                mute.connect(str(path))

    await nothing_kept(citizen, "connects", connects, CONNECTS // 3, CONNECTS)


async def nothing_kept(
    citizen: Citizen, what: str, rounds: Callable[[int, int], Awaitable[None]], warm_up: int, total: int
) -> None:
    """Do so many rounds to warm up and `total` more: afterwards nothing is held that was not held before."""
    path = citizen.stack.gatewayd.socket
    await rounds(0, warm_up)
    first = await at_rest(citizen)
    begun = time.monotonic()
    async with FrontEnd(path) as citizen.front:
        step = max(1, total // LOOKS)
        for done in range(0, total, step):
            await rounds(done, min(step, total - done))
            print(f"{min(done + step, total):6} {what} in {time.monotonic() - begun:.0f} s: {look(citizen)}")
        last = await at_rest(citizen, first)
    print(f"at rest again: {last}")
    assert last.held == first.held
    assert last.pool_threads <= GRPC_RESERVE
    assert last.resident_kib - first.resident_kib < GROWTH_KIB
