"""A centre of its own for each test, with a clock to move, and cards that are really there (in memory)."""

from __future__ import annotations

import datetime
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from cardsim import persona
from cardsim.card import Card
from cardsim.issue import CardKeys, Issued, issue, load_master_key
from centrald import registry
from centrald.app import revocations_of
from centrald.certificates import UserAuthority
from centrald.config import Config, Storage
from centrald.masterkeys import KeyRing
from centrald.rules.hours import Hours
from centrald.rules.model import (
    Attempt,
    CertificateId,
    Check,
    FaceMatch,
    KioskId,
    Outcome,
    Procedure,
    Refusal,
    Report,
    Reservation,
    State,
)
from centrald.rules.reservation import state_of
from centrald.service.cards import Trust
from centrald.service.channels import Authorized, Receipt
from centrald.service.guards import CryptogramGuard, PhoneGuard
from centrald.service.kiosks import KioskCalls
from centrald.service.phones import PhoneCalls
from centrald.statement import Purpose, statement
from centrald.storage.database import Database, Watcher
from centrald.storage.ledger import Entry
from gatewayd.card.jpki import wrap_password
from gatewayd.card.scp03 import initialize_update
from gatewayd.card.values import ChannelKeys
from gatewayd.secret import Secret

NOON = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=9)))
KIOSK = KioskId("chain-a", "store-1", "kiosk-1")
OTHER_KIOSK = KioskId("chain-b", "store-1", "kiosk-1")
PROCEDURE = Procedure.SIGNING_PASSWORD
SELECT_JPKI = bytes.fromhex("00A4040C0AD392F000260100000001")
NEW_PASSWORD = b"NEWPASS1"
OK = b"\x90\x00"


def minutes(count: float) -> datetime.timedelta:
    return datetime.timedelta(minutes=count)


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass
class ManualClock:
    """Stands still until a test moves it."""

    time: datetime.datetime = NOON

    def now(self) -> datetime.datetime:
        return self.time.astimezone(datetime.UTC)

    def advance(self, by: datetime.timedelta) -> None:
        self.time += by


@cache
def card_keys() -> CardKeys:
    """One pair of RSA keys for all cards: what differs is the certificate."""
    return CardKeys.generate()


@dataclass
class HeldCard:
    """A card in the test's hand: it signs without a PIN, and opens channels as its commands do."""

    issued: Issued
    card: Card

    @classmethod
    def issue(cls, directory: Path, now: datetime.datetime, key_version: int = 0x31) -> HeldCard:
        master = load_master_key(directory / "keys/master.key")
        locked = persona.load("locked")
        issued = issue(directory / "authority", master, locked, now=now, keys=card_keys(), key_version=key_version)
        card = Card(issued.memory, secrets.token_bytes)
        card.power_on()
        return cls(issued, card)

    @property
    def certificate(self) -> bytes:
        return self.issued.user_certificate.public_bytes(serialization.Encoding.DER)

    @property
    def entry(self) -> str:
        return msgspec.json.encode(self.issued.registry_entry).decode()

    @property
    def certificate_id(self) -> CertificateId:
        return registry.parse(self.entry)[0].certificate

    def sign(self, text: bytes) -> bytes:
        return card_keys().user.sign(text, PKCS1v15(), hashes.SHA256())

    def offer(self, key_version: int, host_challenge: bytes) -> bytes:
        """Answer INITIALIZE UPDATE, 29 bytes."""
        self.card.reset()
        assert self.card.transmit(SELECT_JPKI) == OK
        answer = self.card.transmit(initialize_update(key_version, host_challenge).encode())
        assert answer[-2:] == OK, answer.hex()
        return answer[:-2]

    def write(self, external_authenticate: bytes, s_enc: bytes, s_mac: bytes) -> Receipt:
        """Open the channel, set the new password, and return the receipt."""
        keys = ChannelKeys(external_authenticate, Secret(s_enc), Secret(s_mac))
        wrapped = wrap_password(keys, Secret(NEW_PASSWORD))
        assert self.card.transmit(external_authenticate) == OK
        answer = self.card.transmit(wrapped.command)
        assert answer[-2:] == OK, answer.hex()
        assert len(answer) == len(OK) + 8
        return Receipt(wrapped.chaining_value, answer[:-2])


class Order(Watcher):
    """Remembers in which order entries of the ledger came to be: the clock stands still, and there are many lanes."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, int], int] = {}

    def appended(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.places[entry.lane, entry.seq] = len(self.places)


class World:
    """The service's calls on a database file, without any wire."""

    def __init__(self, directory: Path, clock: ManualClock, hours: Hours, storage_url: str = Storage().url) -> None:
        config = Config()
        self.directory = directory
        self.clock = clock
        self.storage_url = storage_url
        self.database = Database.open(storage_url, directory, clock, service=True)
        self.order = self.database.watcher = Order()
        self.revocations = revocations_of(directory, config)
        self.revocations.load(clock.now())
        trust = Trust(UserAuthority.load(directory / config.keys.user_authority), self.revocations)
        keys = KeyRing.open(directory, config.keys.master, config.keys.ring)
        self.guard = CryptogramGuard()
        self.kiosks = KioskCalls(self.database, keys, trust, hours, self.guard)
        phone_guard = PhoneGuard(config.limits.address(), config.limits.certificate())
        self.phones = PhoneCalls(self.database, trust, 5, phone_guard, clock)

    async def add_kiosk(self, kiosk: KioskId) -> None:
        async with self.database.transaction() as tx:
            await tx.fleet.add(kiosk)

    async def switch(self, *path: str, enabled: bool) -> None:
        async with self.database.transaction() as tx:
            await tx.fleet.enable(path, enabled=enabled)

    async def card(self, key_version: int = 0x31) -> HeldCard:
        """Issue a card, and register it."""
        held = HeldCard.issue(self.directory, self.clock.now(), key_version)
        async with self.database.transaction() as tx:
            await tx.save_card(registry.parse(held.entry)[0], new=True)
        return held

    async def change_card(self, held: HeldCard, **changes: object) -> None:
        async with self.database.transaction() as tx:
            card = await tx.card(held.certificate_id)
            assert card is not None
            await tx.save_card(replace(card, **changes), new=False)  # type: ignore[arg-type]

    async def reserve(self, held: HeldCard) -> Reservation | Refusal:
        challenge = await self.phones.challenge(PROCEDURE)
        return await self.reserve_with(held, challenge)

    async def reserve_with(self, held: HeldCard, challenge: bytes) -> Reservation | Refusal:
        signature = held.sign(statement(Purpose.RESERVE, PROCEDURE, "", "", challenge))
        return await self.phones.reserve(PROCEDURE, challenge, held.certificate, signature, FaceMatch.NOT_PERFORMED)

    async def reserved(self, held: HeldCard) -> Reservation:
        made = await self.reserve(held)
        assert isinstance(made, Reservation), made
        return made

    async def attempt(self, kiosk: KioskId = KIOSK) -> Try:
        """Begin an attempt."""
        one = Try(self, kiosk, new_id())
        begun = await self.kiosks.begin(kiosk, one.id, PROCEDURE)
        assert isinstance(begun, Attempt), begun
        one.challenge = begun.challenge
        return one

    async def checked(self, held: HeldCard, kiosk: KioskId = KIOSK) -> Try:
        """Begin an attempt and let it pass the check."""
        one = await self.attempt(kiosk)
        check = await one.check(held)
        assert check.refusal is None, check
        return one

    async def ready(self, kiosk: KioskId = KIOSK) -> tuple[HeldCard, Reservation, Try]:
        """Issue a card, make its reservation, and let an attempt pass the check."""
        card = await self.card()
        reservation = await self.reserved(card)
        return card, reservation, await self.checked(card, kiosk)

    async def state(self, reservation: Reservation) -> State:
        async with self.database.transaction() as tx:
            found = await tx.reservation(reservation.id)
            assert found is not None
            return state_of(found, tx.now)

    async def ledger(self) -> list[Entry]:
        async with self.database.transaction() as tx:
            entries = await tx.entries(1000)
        places = self.order.places
        return sorted(entries, key=lambda entry: places.get((entry.lane, entry.seq), len(places)))


class Try:
    """One attempt at a kiosk, call by call."""

    def __init__(self, world: World, kiosk: KioskId, attempt_id: str) -> None:
        self._world = world
        self._calls = world.kiosks
        self.kiosk = kiosk
        self.id = attempt_id
        self.challenge = b""
        self.granted: Check | None = None
        self.offers: dict[int, bytes] = {}

    async def check(self, held: HeldCard, *, statement_for: KioskId | None = None) -> Check:
        signed = statement(Purpose.RESET, PROCEDURE, self.id, str(statement_for or self.kiosk), self.challenge)
        check = await self._calls.check(self.kiosk, self.id, held.certificate, held.sign(signed))
        self.granted = check
        return check

    def offer(self, held: HeldCard, n: int) -> bytes:
        assert self.granted is not None
        return held.offer(self.granted.key_version, self.granted.host_challenges[n - 1])

    async def authorize(self, held: HeldCard, n: int = 1) -> Authorized | Refusal:
        self.offers[n] = self.offer(held, n)
        return await self.ask(n, self.offers[n])

    async def ask(self, n: int, card_answer: bytes) -> Authorized | Refusal:
        return await self._calls.authorize(self.kiosk, self.id, n, card_answer)

    async def authorized(self, held: HeldCard, n: int = 1) -> Authorized:
        given = await self.authorize(held, n)
        assert isinstance(given, Authorized), given
        return given

    async def write(self, held: HeldCard, n: int = 1) -> Receipt:
        """Authorise and carry out write `n`."""
        given = await self.authorized(held, n)
        return held.write(given.external_authenticate, given.s_enc, given.s_mac)

    async def done(self, receipt: Receipt, n: int = 1) -> Report:
        return await self._calls.report(self.kiosk, self.id, n, Outcome.DONE, 0, receipt)

    async def not_done(self, n: int = 1, status_word: int = 0) -> Report:
        return await self._calls.report(self.kiosk, self.id, n, Outcome.NOT_DONE, status_word, None)

    async def unknown(self, n: int = 1) -> Report:
        return await self._calls.report(self.kiosk, self.id, n, Outcome.UNKNOWN, 0, None)

    async def release(self) -> State | None:
        return await self._calls.release(self.kiosk, self.id)


WRONG_RECEIPT = Receipt(bytes(16), bytes(8))
