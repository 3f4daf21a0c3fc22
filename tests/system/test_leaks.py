"""Nothing is kept of an attempt or a connection: threads, descriptors and PC/SC contexts stay the same, memory is flat.

`make soak` runs the same for longer, with SOAK_ATTEMPTS and SOAK_CONNECTS. The PC/SC service sees a moved card at once
instead of up to 0.4 s later, so that the daemon works all the time.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from tests.rig.citizen import Citizen
from tests.rig.footprint import Footprint
from tests.rig.front_end import ENTER_USER_PIN, REMOVE_CARD, FrontEnd
from tests.rig.site import Site
from tests.rig.stack import Stack

ATTEMPTS = int(os.environ.get("SOAK_ATTEMPTS", "5"))
CONNECTS = int(os.environ.get("SOAK_CONNECTS", "300"))
WARM_UP = 3  # rounds after which caches and pools are what they will be
SETTLE_S = 10.0
GROWTH_KIB = 3 * 1024  # in all, whatever the number of rounds; SQLite keeps up to 2 MiB of the growing journal
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


async def settled(citizen: Citizen, wanted: Footprint | None) -> Footprint:
    """The footprint once what is closing has closed; what does not close is seen after a while."""
    deadline = time.monotonic() + SETTLE_S
    await citizen.front.idle()
    while (found := look(citizen)).held != (wanted or found).held and time.monotonic() < deadline:
        await citizen.front.status()
    return found


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


def report(what: str, done: int, total: int, begun: float, found: Footprint) -> None:
    if done % max(1, total // LOOKS) == 0 or done == total:
        print(f"{done:6} {what} in {time.monotonic() - begun:.0f} s: {found}")


@pytest.mark.timeout(60 + 10 * ATTEMPTS)
async def test_attempts(citizen: Citizen, new_password: str) -> None:
    first = None
    begun = time.monotonic()
    for done in range(1, WARM_UP + ATTEMPTS + 1):
        await whole_reset(citizen, new_password)
        if done % 2:
            await wrong_pin_and_away(citizen)
        if done == WARM_UP:
            first = await settled(citizen, None)
        if first and done > WARM_UP:
            report("attempts", done - WARM_UP, ATTEMPTS, begun, look(citizen))
    assert first is not None
    last = await settled(citizen, first)
    assert last.held == first.held
    assert last.resident_kib - first.resident_kib < GROWTH_KIB


@pytest.mark.timeout(60 + CONNECTS // 20)
async def test_connections(citizen: Citizen) -> None:
    path = citizen.stack.gatewayd.socket
    first = None
    begun = time.monotonic()
    warm_up = CONNECTS // 3
    for done in range(1, warm_up + CONNECTS + 1):
        async with FrontEnd(path) as front:
            await front.status()
        with socket.socket(socket.AF_UNIX) as mute:  # connects and never says a word
            mute.connect(str(path))
        if done == warm_up:
            first = await settled(citizen, None)
        if first and done > warm_up:
            report("connects", done - warm_up, CONNECTS, begun, look(citizen))
    assert first is not None
    last = await settled(citizen, first)
    assert last.held == first.held
    assert last.resident_kib - first.resident_kib < GROWTH_KIB
