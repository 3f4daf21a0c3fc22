"""What every centre does, asked through the port: the fake of the tests, and the real client with the real service.

Both are met by a simulated card and the daemon's own card jobs, so that what passes here was signed, authorised and
receipted for real.
"""

from __future__ import annotations

import datetime
import secrets
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from centrald import registry
from centrald.app import Centrald
from centrald.config import load
from centrald.initialize import initialize
from centrald.rules import model
from centrald.rules.reservation import Made, Wish, make
from gatewayd.card import jpki
from gatewayd.card.values import ChannelKeys, ChannelOffered, PinAccepted, WriteAccepted
from gatewayd.central.client import CentralClient
from gatewayd.central.port import (
    Authorization,
    Begun,
    CentralPort,
    Receipt,
    Refusal,
    Refused,
    Report,
    Reservation,
    ReservationState,
    Verdict,
    WriteOutcome,
)
from gatewayd.central.settings import CentralSettings
from gatewayd.clock import SystemClock
from gatewayd.errors import CentralRejected
from gatewayd.secret import Secret
from tests.fakes.cards import CardFactory, MadeCard
from tests.fakes.central import FakeCentral
from tests.rig.site import CHAIN, KIOSK_NUMBER, STORE, Site

PIN = b"1357"  # the personas' user PIN
PASSWORD = b"NEWPASS2"
HOURS_24 = 24 * 3600


class MovableClock(SystemClock):
    """The machine's clock, set forward at will."""

    def __init__(self) -> None:
        self._ahead = datetime.timedelta()

    def now(self) -> datetime.datetime:
        return super().now() + self._ahead

    def pass_by(self, seconds: float) -> None:
        self._ahead += datetime.timedelta(seconds=seconds)


@dataclass
class World:
    """A centre, and what happens before a kiosk comes into play."""

    central: CentralPort
    clock: MovableClock
    cards: CardFactory
    register: Callable[[str], Awaitable[None]]
    reserve: Callable[[str], Awaitable[None]]

    async def card(self, *, registered: bool = True, reserved: bool = True) -> MadeCard:
        card = self.cards.make(self.clock.now())
        if registered:
            await self.register(card.entry)
        if reserved:
            await self.reserve(card.entry)
        return card


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("place"))
    initialize(made.central, ["localhost", "127.0.0.1"], always_open=True)
    made.add_kiosk(CHAIN, STORE, KIOSK_NUMBER, made.kiosk)
    return made


@pytest.fixture(scope="module")
def cards(place: Site) -> CardFactory:
    return CardFactory(place.central / "authority", master_key(place))


@pytest.fixture(params=["fake", "real"])
async def world(
    request: pytest.FixtureRequest, place: Site, cards: CardFactory, tmp_path: Path
) -> AsyncIterator[World]:
    clock = MovableClock()
    if request.param == "fake":
        yield fake_world(clock, place, cards)
        return
    directory = tmp_path / "central"
    shutil.copytree(place.central, directory)
    service = Centrald(directory, load(directory), clock)
    address = (await service.start()).kiosk_address
    settings = CentralSettings(
        address, place.kiosk / "kiosk.pem", place.kiosk / "kiosk.key", place.kiosk / "server-ca.pem"
    )
    client = CentralClient(settings, clock)

    async def register(entry: str) -> None:
        async with service.database.transaction() as tx:
            await tx.save_card(registry.parse(entry)[0], new=True)

    async def reserve(entry: str) -> None:
        async with service.database.transaction() as tx:
            certificate = registry.parse(entry)[0].certificate
            challenge = secrets.token_bytes(32)
            procedure = model.Procedure.SIGNING_PASSWORD
            wish = Wish(certificate, procedure, model.FaceMatch.NOT_PERFORMED, challenge, challenge)
            made = make(None, wish, str(uuid.uuid4()), tx.now)
            assert isinstance(made, Made)
            tx.add_reservation(made.reservation)

    try:
        yield World(client, clock, cards, register, reserve)
    finally:
        await client.close()
        await service.stop()


def fake_world(clock: MovableClock, place: Site, cards: CardFactory) -> World:
    fake = FakeCentral(clock, master_key(place))

    async def register(entry: str) -> None:
        fake.register(entry)

    async def reserve(entry: str) -> None:
        fake.reserve(registry.parse(entry)[0].certificate)

    return World(fake, clock, cards, register, reserve)


def master_key(place: Site) -> bytes:
    return bytes.fromhex((place.central / "keys/master.key").read_text())


class Walk:
    """One attempt, step by step."""

    def __init__(self, world: World, card: MadeCard) -> None:
        self.central = world.central
        self.card = card
        self.id = str(uuid.uuid4())
        self.reservation: Reservation | None = None
        self.keys: ChannelKeys | None = None

    async def begin(self) -> bytes:
        begun = await self.central.begin_attempt(self.id)
        assert isinstance(begun, Begun)
        return begun.statement

    def sign(self, statement: bytes) -> bytes:
        link = self.card.link
        signed = jpki.verify_and_sign(link, certificate=self.card.certificate, pin=Secret(PIN), statement=statement)
        assert isinstance(signed, PinAccepted)
        link.reset()
        return signed.signature

    async def check(self) -> Reservation | Refused:
        signature = self.sign(await self.begin())
        answer = await self.central.check_reservation(self.id, self.card.certificate, signature)
        if isinstance(answer, Reservation):
            self.reservation = answer
        return answer

    async def checked(self) -> Walk:
        assert isinstance(await self.check(), Reservation)
        return self

    def offer(self, n: int) -> bytes:
        assert self.reservation is not None
        offered = jpki.offer_channel(
            self.card.link,
            certificate=self.card.certificate,
            key_version=self.reservation.key_version,
            host_challenge=self.reservation.host_challenges[n - 1],
        )
        assert isinstance(offered, ChannelOffered)
        return offered.answer

    async def authorize(self, n: int) -> Authorization | Refused:
        answer = await self.central.authorize_reset(self.id, n, self.offer(n))
        if isinstance(answer, Authorization):
            self.keys = ChannelKeys(answer.external_authenticate, answer.s_enc, answer.s_mac)
        return answer

    async def authorized(self, n: int = 1) -> Walk:
        assert isinstance(await self.authorize(n), Authorization)
        return self

    def write(self, n: int = 1) -> Report:
        assert self.keys is not None
        written = jpki.write_password(self.card.link, keys=self.keys, password=Secret(PASSWORD))
        assert isinstance(written, WriteAccepted)
        assert written.signing_password_tries == 5
        return Report(self.id, n, WriteOutcome.DONE, Receipt(written.chaining_value, written.r_mac))


async def walk(world: World) -> Walk:
    return Walk(world, await world.card())


async def test_it_is_open_and_tells_the_time(world: World) -> None:
    status = await world.central.service_status()
    assert status.refusal is None
    assert status.opens_at is None
    assert abs((status.now - world.clock.now()).total_seconds()) < 10
    if isinstance(world.central, CentralClient):
        assert world.central.clock_skew_s is not None
        assert abs(world.central.clock_skew_s) < 10


async def test_a_whole_reset(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    assert attempt.reservation is not None
    assert not attempt.reservation.in_doubt
    report = attempt.write()
    for _ in range(2):
        acknowledged = await world.central.report_outcome(report)
        assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.VALID, ReservationState.USED)
    assert await world.central.get_attempt(attempt.id) is ReservationState.USED
    assert await world.central.release_attempt(attempt.id) is ReservationState.USED
    again = Walk(world, attempt.card)
    assert await again.check() == Refused(Refusal.RESERVATION_USED)


async def test_begin_and_check_may_be_repeated(world: World) -> None:
    attempt = await walk(world)
    statement = await attempt.begin()
    assert attempt.id.encode() in statement
    assert world.central.kiosk_id.encode() in statement
    assert await attempt.begin() == statement
    signature = attempt.sign(statement)
    first = await world.central.check_reservation(attempt.id, attempt.card.certificate, signature)
    assert isinstance(first, Reservation)
    assert await world.central.check_reservation(attempt.id, attempt.card.certificate, signature) == first
    with pytest.raises(CentralRejected) as caught:
        await world.central.check_reservation(attempt.id, attempt.card.certificate, bytes(256))
    assert caught.value.code == "invalid_argument"


async def test_no_reservation(world: World) -> None:
    attempt = Walk(world, await world.card(reserved=False))
    assert await attempt.check() == Refused(Refusal.RESERVATION_NOT_FOUND)
    with pytest.raises(CentralRejected) as caught:
        await world.central.authorize_reset(attempt.id, 1, bytes(29))
    assert caught.value.code == "failed_precondition"


async def test_a_card_that_was_never_registered(world: World) -> None:
    attempt = Walk(world, await world.card(registered=False, reserved=False))
    assert await attempt.check() == Refused(Refusal.CARD_NOT_REGISTERED)


async def test_a_signature_for_another_attempt(world: World) -> None:
    first, second = await walk(world), await walk(world)
    signature = first.sign(await first.begin())
    await second.begin()
    answer = await world.central.check_reservation(second.id, first.card.certificate, signature)
    assert answer == Refused(Refusal.SIGNATURE_INVALID)


async def test_a_reservation_of_yesterday(world: World) -> None:
    attempt = await walk(world)
    world.clock.pass_by(HOURS_24)
    assert await attempt.check() == Refused(Refusal.RESERVATION_EXPIRED)


async def test_the_judgement_is_good_for_fifteen_minutes(world: World) -> None:
    attempt = await (await walk(world)).checked()
    world.clock.pass_by(15 * 60)
    assert await attempt.authorize(1) == Refused(Refusal.ATTEMPT_EXPIRED)


async def test_a_card_that_is_not_the_one_registered(world: World) -> None:
    attempt = await (await walk(world)).checked()
    answer = bytearray(attempt.offer(1))
    answer[-1] ^= 1
    refused = await world.central.authorize_reset(attempt.id, 1, bytes(answer))
    assert refused == Refused(Refusal.CARD_NOT_GENUINE)


async def test_an_authorization_may_be_repeated_with_the_same_content_only(world: World) -> None:
    attempt = await (await walk(world)).checked()
    offer = attempt.offer(1)
    first = await world.central.authorize_reset(attempt.id, 1, offer)
    again = await world.central.authorize_reset(attempt.id, 1, offer)
    assert isinstance(first, Authorization)
    assert isinstance(again, Authorization)
    assert first.external_authenticate == again.external_authenticate
    assert first.s_enc.reveal() == again.s_enc.reveal()
    with pytest.raises(CentralRejected) as caught:
        await world.central.authorize_reset(attempt.id, 1, attempt.offer(1))
    assert caught.value.code == "invalid_argument"


async def test_write_numbers_have_no_gaps(world: World) -> None:
    attempt = await (await walk(world)).checked()
    with pytest.raises(CentralRejected) as caught:
        await world.central.authorize_reset(attempt.id, 2, attempt.offer(2))
    assert caught.value.code == "failed_precondition"


async def test_a_write_that_was_not_done_leaves_the_reservation(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    assert await world.central.get_attempt(attempt.id) is ReservationState.AUTHORIZED
    acknowledged = await world.central.report_outcome(Report(attempt.id, 1, WriteOutcome.NOT_DONE, status_word=0x6985))
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.NONE, ReservationState.RESERVED)
    with pytest.raises(CentralRejected) as caught:
        await world.central.report_outcome(Report(attempt.id, 1, WriteOutcome.NOT_DONE, status_word=0x6A80))
    assert caught.value.code == "invalid_argument"
    await attempt.authorized(2)
    acknowledged = await world.central.report_outcome(attempt.write(2))
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.VALID, ReservationState.USED)


async def test_an_unknown_write_is_doubt_until_the_same_card_proves_more(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    acknowledged = await world.central.report_outcome(Report(attempt.id, 1, WriteOutcome.UNKNOWN))
    assert acknowledged.reservation is ReservationState.IN_DOUBT
    await attempt.authorized(2)
    acknowledged = await world.central.report_outcome(attempt.write(2))
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.VALID, ReservationState.USED)


async def test_a_late_receipt_clears_the_doubt(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    await world.central.report_outcome(Report(attempt.id, 1, WriteOutcome.UNKNOWN))
    assert await world.central.release_attempt(attempt.id) is ReservationState.IN_DOUBT
    acknowledged = await world.central.report_outcome(attempt.write())
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.VALID, ReservationState.USED)
    assert await world.central.get_attempt(attempt.id) is ReservationState.USED


async def test_a_receipt_that_does_not_verify_is_doubt(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    false = Report(attempt.id, 1, WriteOutcome.DONE, Receipt(bytes(16), bytes(8)))
    acknowledged = await world.central.report_outcome(false)
    assert (acknowledged.verdict, acknowledged.reservation) == (Verdict.INVALID, ReservationState.IN_DOUBT)
    again = await Walk(world, attempt.card).checked()
    assert again.reservation is not None
    assert again.reservation.in_doubt


async def test_silence_is_doubt(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    world.clock.pass_by(20 * 60)
    assert await world.central.get_attempt(attempt.id) is ReservationState.IN_DOUBT


async def test_a_release_frees_what_was_not_written_and_kills_the_id(world: World) -> None:
    attempt = await (await (await walk(world)).checked()).authorized()
    for _ in range(2):
        assert await world.central.release_attempt(attempt.id) is ReservationState.RESERVED
    with pytest.raises(CentralRejected) as caught:
        await attempt.begin()
    assert caught.value.code == "failed_precondition"
    assert isinstance(await Walk(world, attempt.card).check(), Reservation)


async def test_a_release_may_come_first(world: World) -> None:
    attempt = await walk(world)
    assert await world.central.release_attempt(attempt.id) is ReservationState.NONE
    with pytest.raises(CentralRejected):
        await attempt.begin()


async def test_a_card_that_shows_itself_again_supersedes(world: World) -> None:
    first = await (await walk(world)).checked()
    await Walk(world, first.card).checked()
    assert await first.authorize(1) == Refused(Refusal.SUPERSEDED)


async def test_an_attempt_it_never_heard_of(world: World) -> None:
    unheard = str(uuid.uuid4())
    assert await world.central.get_attempt(unheard) is ReservationState.NONE
    with pytest.raises(CentralRejected) as caught:
        await world.central.report_outcome(Report(unheard, 1, WriteOutcome.UNKNOWN))
    assert caught.value.code == "failed_precondition"
    with pytest.raises(CentralRejected):
        await world.central.check_reservation(unheard, b"0", bytes(256))
