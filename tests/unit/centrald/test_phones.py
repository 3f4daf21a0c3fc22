"""What phones may do: one reservation for one challenge, and not without end."""

from __future__ import annotations

import datetime

import pytest

from centrald.errors import TooMany
from centrald.rules.model import FaceMatch, Refusal, Reservation
from centrald.statement import Purpose, statement
from tests.unit.centrald.world import PROCEDURE, World, minutes


async def test_a_reservation_lives_24_hours_and_records_the_face(world: World) -> None:
    made = await world.reserved(await world.card())
    assert made.expires_at - made.created_at == datetime.timedelta(hours=24)
    assert made.face_match is FaceMatch.NOT_PERFORMED


async def test_the_same_request_again_gets_the_same_reservation(world: World) -> None:
    card = await world.card()
    challenge = await world.phones.challenge(PROCEDURE)
    first = await world.reserve_with(card, challenge)
    assert isinstance(first, Reservation)
    world.clock.advance(minutes(60))
    assert await world.reserve_with(card, challenge) == first
    assert await world.reserve_with(await world.card(), challenge) is Refusal.CHALLENGE_EXPIRED


async def test_a_challenge_is_known_fresh_and_for_one_use(world: World) -> None:
    card = await world.card()
    assert await world.reserve_with(card, bytes(32)) is Refusal.CHALLENGE_EXPIRED
    challenge = await world.phones.challenge(PROCEDURE)
    world.clock.advance(minutes(5))
    assert await world.reserve_with(card, challenge) is Refusal.CHALLENGE_EXPIRED
    challenge = await world.phones.challenge(PROCEDURE)
    world.clock.advance(minutes(5) - datetime.timedelta(seconds=1))
    assert isinstance(await world.reserve_with(card, challenge), Reservation)


async def test_open_challenges_are_bounded(world: World) -> None:
    for _ in range(5):
        await world.phones.challenge(PROCEDURE)
    with pytest.raises(TooMany):
        await world.phones.challenge(PROCEDURE)
    world.clock.advance(minutes(5))
    assert len(await world.phones.challenge(PROCEDURE)) == 32


async def test_a_signature_for_a_reset_reserves_nothing(world: World) -> None:
    card = await world.card()
    challenge = await world.phones.challenge(PROCEDURE)
    signature = card.sign(statement(Purpose.RESET, PROCEDURE, "", "", challenge))
    made = await world.phones.reserve(PROCEDURE, challenge, card.certificate, signature, FaceMatch.NOT_PERFORMED)
    assert made is Refusal.SIGNATURE_INVALID


async def test_a_certificate_that_is_none(world: World) -> None:
    challenge = await world.phones.challenge(PROCEDURE)
    made = await world.phones.reserve(PROCEDURE, challenge, b"junk", bytes(256), FaceMatch.PERFORMED)
    assert made is Refusal.CERTIFICATE_NOT_TRUSTED
