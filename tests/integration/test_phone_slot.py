"""The phone's slot on a real PC/SC service: cards that are lifted, readers that are held, no service at all."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from smartcard import scard

from cardsim.card import Card
from cardsim.memory import ReferenceName
from jpki_phone import pcsc
from jpki_phone.centre import Reservation
from jpki_phone.problems import ExitCode, NotReserved, Problem
from jpki_phone.reserve import reserve
from tests.fakes.faults import Fault
from tests.fakes.slot import VirtualSlot
from tests.rig.pcscd import PHONE, PrivatePcscd
from tests.rig.process import BIN
from tests.unit.clients.cards import PIN, VERIFY, make_card

WAIT_S = 5
EVENTS_SHIFT = 16
SECONDS = 20
WRONG_PIN = b"0000"


class NoCentre:
    """Gives a challenge; nothing is reserved in these tests."""

    def challenge(self) -> bytes:
        return bytes(32)

    def reserve(self, challenge: bytes, user_certificate: bytes, signature: bytes) -> Reservation:
        raise AssertionError("the card was not read to the end")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@pytest.fixture
def card(key: rsa.RSAPrivateKey) -> Card:
    return make_card(key)


@pytest.fixture
async def slot(private_pcscd: PrivatePcscd) -> AsyncIterator[VirtualSlot]:
    virtual = VirtualSlot(private_pcscd.readers[PHONE].port, lambda: None)
    yield virtual
    await virtual.close()
    await asyncio.to_thread(until_empty, private_pcscd.readers[PHONE].name)


def until_empty(name: str) -> None:
    """Wait until the service has counted the removal: a card that came back before that would never be seen.

    After a broken exchange the state says empty at once, and the event counter in its upper half follows with the next
    poll. Insertions and removals alternate, so that the counter is even without a card.
    """
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    assert code == scard.SCARD_S_SUCCESS
    state = scard.SCARD_STATE_UNAWARE
    while not state & scard.SCARD_STATE_EMPTY or state >> EVENTS_SHIFT & 1:
        code, ((_, state, _),) = scard.SCardGetStatusChange(context, SECONDS * 1000, [(name, state)])
        assert code == scard.SCARD_S_SUCCESS
        state &= ~scard.SCARD_STATE_CHANGED
    scard.SCardReleaseContext(context)


def attempt(name: str, ask: Callable[[int], bytes]) -> str:
    """Wait for a card, try to reserve, and return what kept it."""
    try:
        with pcsc.open_slot(name) as opened:
            opened.wait_for_card(WAIT_S, lambda: None)
            reserve(opened, NoCentre(), ask)
    except NotReserved as problem:
        return problem.key
    return "nothing"


def entries(slot: VirtualSlot) -> int:
    return sum(each.command.startswith(VERIFY) and len(each.command) > len(VERIFY) for each in slot.exchanges)


@pytest.mark.parametrize("fault", [Fault.TORN_BEFORE, Fault.TORN_AFTER, Fault.SLIPPED_AFTER])
async def test_a_card_lifted_at_the_verify_gets_it_once(
    private_pcscd: PrivatePcscd, slot: VirtualSlot, card: Card, fault: Fault
) -> None:
    loop = asyncio.get_running_loop()

    async def plan() -> None:
        # the second reading sends what the first sent, then SELECT and VERIFY
        slot.plan(len(slot.exchanges) + 2, fault)

    def ask(tries: int) -> bytes:
        asyncio.run_coroutine_threadsafe(plan(), loop).result(SECONDS)
        return WRONG_PIN

    await slot.insert(card)
    name = private_pcscd.readers[PHONE].name
    assert await asyncio.to_thread(attempt, name, ask) == Problem.USER_PIN_TORN.value
    counted = fault is not Fault.TORN_BEFORE
    assert entries(slot) == counted
    assert card.memory.reference(ReferenceName.USER_PIN).tries == 3 - counted


async def test_a_card_lifted_while_it_is_read_is_told(
    private_pcscd: PrivatePcscd, slot: VirtualSlot, card: Card
) -> None:
    await slot.insert(card)
    slot.plan(5, Fault.TORN_AFTER)
    name = private_pcscd.readers[PHONE].name
    assert await asyncio.to_thread(attempt, name, lambda tries: PIN) == Problem.CARD_UNREADABLE.value
    assert entries(slot) == 0


async def test_a_verified_card_is_reset_at_the_end(private_pcscd: PrivatePcscd, slot: VirtualSlot, card: Card) -> None:
    class Centre(NoCentre):
        def reserve(self, challenge: bytes, user_certificate: bytes, signature: bytes) -> Reservation:
            assert slot.resets
            assert not card.snapshot()["verified"]
            return Reservation("r-1", datetime.datetime.now(datetime.UTC))

    await slot.insert(card)

    def go() -> None:
        with pcsc.open_slot(private_pcscd.readers[PHONE].name) as opened:
            opened.wait_for_card(WAIT_S, lambda: None)
            reserve(opened, Centre(), lambda tries: PIN)

    await asyncio.to_thread(go)
    assert entries(slot) == 1


async def test_a_reader_held_by_another_program_is_told(
    private_pcscd: PrivatePcscd, slot: VirtualSlot, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcsc, "HELD_PAUSE_S", 0.01)
    name = private_pcscd.readers[PHONE].name

    def hold_and_try() -> str:
        with pcsc.open_slot(name) as first:
            first.wait_for_card(WAIT_S, lambda: None)
            with first.card():
                return attempt(name, lambda tries: PIN)

    await slot.insert(card)
    assert await asyncio.to_thread(hold_and_try) == Problem.READER_HELD.value
    assert entries(slot) == 0


def test_without_the_card_service_it_is_said(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    ended = subprocess.run(
        [BIN / "jpki-phone", "reserve", "--json", "--address", "127.0.0.1:1", "--ca", authority],
        env={**os.environ, "PCSCLITE_CSOCK_NAME": str(tmp_path / "nothing")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert json.loads(ended.stdout)["problem"] == Problem.PCSC_UNAVAILABLE.value
    assert ended.returncode == ExitCode.READER_OR_CARD
