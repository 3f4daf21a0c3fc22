"""The floor: what a reset costs at least on this machine, with nothing around the card, the wire and the disk.

The same commands, in the same three connections, through pyscard alone; as many calls with mutual TLS, empty ones, to a
server that does nothing; as many synced commits of one row. In the order of a reset, and only these are timed: what
decides which command comes next is not.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import grpc
from smartcard import scard

from centrald.cardkeys import CardAnswer, Channel, FileMasterKey
from centrald.rules.model import Procedure, Transcript
from gatewayd.card import jpki
from gatewayd.card.link import CardLink
from gatewayd.card.values import CardFacts, ChannelKeys, ChannelOffered, PinAccepted, WriteAccepted
from gatewayd.secret import Secret
from tests.bench.bare_server import METHOD
from tests.rig.site import Site

T = TypeVar("T")

KEY_VERSION = 0x31
STATEMENT_BYTES = 120  # about what the centre lets a card sign
ROW_BYTES = 300
CALL_SECONDS = 3.0
CALLS, COMMITS = 5, 6  # of the order below; a daemon that commits more often has more of them at the beginning
_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_PCI = {scard.SCARD_PROTOCOL_T0: scard.SCARD_PCI_T0, scard.SCARD_PROTOCOL_T1: scard.SCARD_PCI_T1}


@dataclass
class Sums:
    """Seconds and numbers of one pass."""

    card: float = 0.0
    connection: float = 0.0  # connect, disconnect, and the card's reset in between
    calls: float = 0.0
    commits: float = 0.0
    apdus: int = 0
    call_count: int = 0
    commit_count: int = 0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.card + self.connection + self.calls + self.commits


class BareCard:
    """A card through pyscard's thin layer; adds up the time of each of its calls."""

    def __init__(self, reader: str) -> None:
        """Take a context for life, as a daemon does; PCSCLITE_CSOCK_NAME is set by now."""
        code, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        assert code == scard.SCARD_S_SUCCESS
        self._reader = reader
        self._handle = self._protocol = 0
        self.sums = Sums()

    def run(self, job: Callable[[CardLink], T]) -> T:
        """Run a job on a connection of its own."""
        self.connect()
        try:
            return job(self)
        finally:
            self.disconnect()

    def connect(self) -> None:
        """Connect exclusively."""
        begun = time.perf_counter()
        code, self._handle, self._protocol = scard.SCardConnect(
            self._context, self._reader, scard.SCARD_SHARE_EXCLUSIVE, _PROTOCOLS
        )
        self.sums.connection += time.perf_counter() - begun
        assert code == scard.SCARD_S_SUCCESS, f"connect: {code:#x}"

    def disconnect(self) -> None:
        """Disconnect with a reset of the card."""
        begun = time.perf_counter()
        scard.SCardDisconnect(self._handle, scard.SCARD_RESET_CARD)
        self.sums.connection += time.perf_counter() - begun

    def transmit(self, command: bytes) -> bytes:
        """See `CardLink`."""
        begun = time.perf_counter()
        code, answer = scard.SCardTransmit(self._handle, _PCI[self._protocol], list(command))
        self.sums.card += time.perf_counter() - begun
        self.sums.apdus += 1
        assert code == scard.SCARD_S_SUCCESS, f"transmit: {code:#x}"
        return bytes(answer)

    def reset(self) -> None:
        """See `CardLink`."""
        begun = time.perf_counter()
        code, self._protocol = scard.SCardReconnect(
            self._handle, scard.SCARD_SHARE_EXCLUSIVE, _PROTOCOLS, scard.SCARD_RESET_CARD
        )
        self.sums.connection += time.perf_counter() - begun
        assert code == scard.SCARD_S_SUCCESS, f"reset: {code:#x}"

    def close(self) -> None:
        """Give the context back."""
        scard.SCardReleaseContext(self._context)


class Floor:
    """One card of its own, one channel, one file; `run` is one pass."""

    def __init__(self, site: Site, reader: str, address: str, journal: Path, user_pin: str, password: str) -> None:
        """Take the site for the keys that a centre would hold, and the file for the rows."""
        self._card = BareCard(reader)
        self._master = FileMasterKey.load(site.central / "keys/master.key")
        self._secrets = (user_pin.encode(), password.encode())
        kiosk = site.kiosk
        credentials = grpc.ssl_channel_credentials(
            (kiosk / "server-ca.pem").read_bytes(),
            (kiosk / "kiosk.key").read_bytes(),
            (kiosk / "kiosk.pem").read_bytes(),
        )
        self._channel = grpc.aio.secure_channel(address, credentials, (("grpc.enable_http_proxy", 0),))
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)
        self._database = sqlite3.connect(journal, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "locking_mode = EXCLUSIVE"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE rows (content BLOB)")

    async def run(self, commits: int) -> Sums:
        """Do it once, in the order of a reset, with so many commits in all."""
        assert commits >= COMMITS, "the daemon commits less often than the floor has places for: bring them in line"
        card, sums = self._card, Sums()
        card.sums = sums
        pin, password = map(Secret, self._secrets)
        for _ in range(commits - COMMITS + 1):
            self._commit(sums)  # accepted
        await self._call(sums)  # GetServiceStatus
        facts = card.run(jpki.read_card)
        assert isinstance(facts, CardFacts)
        certificate = facts.user_certificate
        self._commit(sums)  # begun
        await self._call(sums)  # BeginAttempt
        statement = secrets.token_bytes(STATEMENT_BYTES)
        signed = card.run(
            lambda link: jpki.verify_and_sign(link, certificate=certificate, pin=pin, statement=statement)
        )
        assert isinstance(signed, PinAccepted)
        await self._call(sums)  # CheckReservation
        challenge = secrets.token_bytes(8)
        card.connect()
        try:
            offered = jpki.offer_channel(
                card, certificate=certificate, key_version=KEY_VERSION, host_challenge=challenge
            )
            assert isinstance(offered, ChannelOffered)
            self._commit(sums)  # authorizing
            await self._call(sums)  # AuthorizeReset
            keys = self._keys(offered)
            self._commit(sums)  # intended
            written = jpki.write_password(card, keys=keys, password=password)
            assert isinstance(written, WriteAccepted), written
        finally:
            card.disconnect()
        self._commit(sums)  # result
        await self._call(sums)  # ReportOutcome
        self._commit(sums)  # finished
        return sums

    async def close(self) -> None:
        """Give everything back."""
        self._card.close()
        await self._channel.close()
        self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _keys(self, offered: ChannelOffered) -> ChannelKeys:
        answer = CardAnswer.parse(offered.answer)
        transcript = Transcript(
            key_version=answer.key_version,
            diversification_data=answer.diversification_data,
            host_challenge=offered.host_challenge,
            card_challenge=answer.card_challenge,
        )
        channel = Channel(self._master, Procedure.SIGNING_PASSWORD, transcript)
        return ChannelKeys(channel.external_authenticate(), Secret(channel.s_enc), Secret(channel.s_mac))

    async def _call(self, sums: Sums) -> None:
        begun = time.perf_counter()
        await self._method(b"", timeout=CALL_SECONDS)
        sums.calls += time.perf_counter() - begun
        sums.call_count += 1

    def _commit(self, sums: Sums) -> None:
        row = secrets.token_bytes(ROW_BYTES)
        begun = time.perf_counter()
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("INSERT INTO rows VALUES (?)", (row,))
        self._database.execute("COMMIT")
        sums.commits += time.perf_counter() - begun
        sums.commit_count += 1
