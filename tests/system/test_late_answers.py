"""Answers that come after their deadline or not at all, and cards swapped in an instant, at each command of a reset."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_READER_STUCK

from tests.rig.citizen import Citizen
from tests.rig.front_end import FINISHED, REMOVE_CARD, FrontEnd
from tests.rig.impatient import APDU_LIMIT_S
from tests.rig.site import Site
from tests.rig.stack import Stack
from tests.rig.sweep import OTHER, USER_PIN, Strike, lanes, sweep, table

LANES = 4
LATE_S = APDU_LIMIT_S + 0.2
FEWEST, FEWEST_KINDS = 25, 12  # commands of a whole reset, and changes from one to another
LONG = bool(os.environ.get("LONG_SWEEPS"))


@pytest.fixture(scope="module")
def kiosks(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[list[Stack]]:
    with lanes(tmp_path_factory.mktemp("late"), site, LANES) as stacks:
        yield stacks


def show(strikes: list[Strike], *, every: bool) -> None:
    print("", *table(strikes), sep="\n")
    assert len(strikes) >= (FEWEST if every else FEWEST_KINDS)


@pytest.mark.timeout(240)
async def test_late_answer_at_each_command(kiosks: list[Stack]) -> None:
    strikes = await sweep(kiosks, "delay", "after_effect", every=True, seconds=LATE_S)
    show(strikes, every=True)


@pytest.mark.timeout(240)
async def test_card_swapped_before_pcscd_looks_at_each_command(kiosks: list[Stack]) -> None:
    show(await sweep(kiosks, "swap", "after_answer", every=LONG, other=OTHER), every=LONG)


@pytest.mark.timeout(240)
async def test_mute_card_is_asked_to_be_lifted(kiosks: list[Stack]) -> None:
    strikes = await sweep(kiosks, "mute", "after_effect", every=LONG)
    show(strikes, every=LONG)
    assert all(strike.asked_to_lift for strike in strikes)


async def test_mute_card_that_stays_makes_the_kiosk_unready_until_it_is_lifted(kiosks: list[Stack]) -> None:
    stack = kiosks[0]
    async with FrontEnd(stack.gatewayd.socket) as front:
        await front.ready()
        citizen = Citizen(stack, front, USER_PIN)
        attempt = await citizen.agree()
        with stack.cardsim.fault("read_binary", "mute"):
            citizen.place()
            await attempt.until(REMOVE_CARD)
            await front.until_status(lambda status: READINESS_PROBLEM_READER_STUCK in status.problems)
            citizen.lift()
            await attempt.until(FINISHED)
            await front.ready()
