"""Who has to wait: addresses, certificates, and cards and kiosks whose cryptograms are wrong."""

from __future__ import annotations

import datetime
import logging
from dataclasses import replace

import pytest

from centrald.errors import TooMany
from centrald.rules.limits import Patience, Rate
from centrald.rules.model import CertificateId, KioskId, Refusal, Reservation
from centrald.service.channels import Authorized
from centrald.service.guards import CARD_PATIENCE, KIOSK_PATIENCE, CryptogramGuard, PhoneGuard, subscriber
from centrald.storage.ledger import Event
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, PROCEDURE, HeldCard, ManualClock, Try, World, minutes

NOW = ManualClock().now()
HOUR = datetime.timedelta(hours=1)
MINUTE = minutes(1)


@pytest.mark.parametrize(
    ("peer", "whose"),
    [
        ("ipv4:192.0.2.7:53412", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:53412", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::1]:53412", "2001:db8:1:2::/64"),
        ("ipv6:%5B::1%5D:53412", "::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:1", "192.0.2.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::/64"),
        ("unix:/run/x.sock", "unix"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_whose_address_it_is(peer: str, whose: str) -> None:
    assert subscriber(peer) == whose


def test_addresses_and_certificates_have_a_bucket_each() -> None:
    guard = PhoneGuard(Rate(2, MINUTE), Rate(1, HOUR))
    for peer in ("ipv4:192.0.2.7:1", "ipv4:192.0.2.7:2", "ipv4:192.0.2.8:1"):
        guard.address(peer, NOW)
    with pytest.raises(TooMany) as raised:
        guard.address("ipv4:192.0.2.7:3", NOW)
    assert raised.value.wait == MINUTE
    guard.certificate(CertificateId("aa", "1"), NOW)
    guard.certificate(CertificateId("aa", "2"), NOW)
    with pytest.raises(TooMany) as raised:
        guard.certificate(CertificateId("aa", "1"), NOW)
    assert raised.value.wait == HOUR
    assert guard.refused == {"address": 1, "certificate": 1}


async def test_a_certificate_reserves_five_times_then_waits(world: World) -> None:
    card = await world.card()
    for _ in range(5):
        await world.reserved(card)
    before = await world.ledger()
    with pytest.raises(TooMany) as raised:
        await world.reserve(card)
    assert raised.value.wait == minutes(6)
    assert await world.ledger() == before
    assert isinstance(await world.reserve(await world.card()), Reservation)
    world.clock.advance(minutes(6))
    assert isinstance(await world.reserve(card), Reservation)


async def test_a_repeat_and_a_stranger_cost_a_certificate_nothing(world: World) -> None:
    card = await world.card()
    challenge = await world.phones.challenge(PROCEDURE)
    first = await world.reserve_with(card, challenge)
    assert isinstance(first, Reservation)
    for _ in range(20):
        assert await world.reserve_with(card, challenge) == first
    for _ in range(3):
        await world.reserved(card)
    fresh = await world.phones.challenge(PROCEDURE)
    for _ in range(20):  # somebody shows the certificate, without its key
        shown = await world.phones.reserve(PROCEDURE, fresh, card.certificate, bytes(256), first.face_match)
        assert shown is Refusal.SIGNATURE_INVALID
    assert isinstance(await world.reserve_with(card, fresh), Reservation)  # the fifth
    with pytest.raises(TooMany):
        await world.reserve(card)


class Clone:
    """Checks as the card does, and cannot open a channel."""

    def __init__(self, world: World, card: HeldCard) -> None:
        self._world = world
        self._card = card

    async def attempt(self, kiosk: KioskId = KIOSK) -> tuple[Try, bytes]:
        attempt = await self._world.checked(self._card, kiosk)
        answer = attempt.offer(self._card, 1)
        return attempt, answer[:-1] + bytes([answer[-1] ^ 1])


async def test_wrong_cryptograms_slow_a_card_down_and_raise_the_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    card = await world.card()
    await world.reserved(card)
    clone = Clone(world, card)
    for _ in range(4):
        attempt, answer = await clone.attempt()
        assert await attempt.ask(1, answer) is Refusal.CARD_NOT_GENUINE
        assert await attempt.ask(1, answer) is Refusal.CARD_NOT_GENUINE  # a repeat is answered, and not counted
    levels = [record.levelno for record in caplog.records if "cryptogram" in record.getMessage()]
    assert levels == [logging.WARNING] * 3 + [logging.ERROR]
    assert card.certificate_id.serial not in caplog.text
    attempt, answer = await clone.attempt()
    before = await world.ledger()
    with pytest.raises(TooMany) as raised:
        await attempt.ask(1, answer)
    assert raised.value.wait == CARD_PATIENCE.first
    genuine = await world.checked(card)
    with pytest.raises(TooMany):
        await genuine.authorize(card)
    assert [entry.event for entry in await world.ledger()][len(before) :] == [Event.BEGUN, Event.CHECKED]
    world.clock.advance(CARD_PATIENCE.first)
    assert isinstance(await genuine.authorize(card), Authorized)  # the same write number: nothing was used up
    assert (world.guard.wrong_total, world.guard.refused_total) == (4, 2)
    assert world.guard.cards.wait(card.certificate_id, world.clock.now()) is None
    assert len(world.guard.cards) == 0  # a right one clears the card


async def test_a_kiosk_that_tries_many_cards_is_slowed_down_alone(world: World) -> None:
    patience = replace(KIOSK_PATIENCE, free=2)
    world.kiosks._guard = guard = CryptogramGuard(kiosk=patience)
    cards = [await world.card() for _ in range(patience.free + 2)]
    for card in cards:
        await world.reserved(card)
        if card is cards[-1]:
            break
        attempt, answer = await Clone(world, card).attempt()
        assert await attempt.ask(1, answer) is Refusal.CARD_NOT_GENUINE
    here, there = await world.checked(cards[-1]), None
    with pytest.raises(TooMany) as raised:
        await here.authorize(cards[-1])
    assert raised.value.wait == KIOSK_PATIENCE.first
    there = await world.checked(cards[-1], OTHER_KIOSK)
    assert isinstance(await there.authorize(cards[-1]), Authorized)
    assert guard.kiosks.wait(KIOSK, world.clock.now()) is not None
    assert guard.kiosks.wait(KIOSK, world.clock.now() + KIOSK_PATIENCE.first) is None


def test_a_right_card_does_not_clear_its_kiosk() -> None:
    patience = Patience(1, MINUTE, HOUR, HOUR)
    guard = CryptogramGuard(patience, patience)
    card = CertificateId("aa", "1")
    for _ in range(2):
        guard.judged(card, KIOSK, "r", NOW, genuine=False)
    guard.judged(card, KIOSK, "r", NOW, genuine=True)
    guard.admit(card, OTHER_KIOSK, NOW)
    with pytest.raises(TooMany, match="this kiosk"):
        guard.admit(card, KIOSK, NOW)
