"""Kiosks and phones by the dozen: whole attempts over the wire at cards in software, as fast as a client can.

The cards are real in all a centre sees of them: certificates, signatures, cryptograms, receipts. All have one RSA key.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2_grpc, reservation_service_pb2_grpc
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2 as phone_pb

from cardsim import certificates, persona, scp03
from cardsim.issue import SIGNING_PASSWORD_KEY_VERSION, derive_static_keys, load_master_key
from centrald import pki
from centrald.initialize import KIOSK_AUTHORITY
from centrald.kioskname import uri_of
from centrald.rules.model import CardEntry, CertificateId, KioskId, Procedure
from centrald.statement import Purpose, statement

PROCEDURE = Procedure.SIGNING_PASSWORD
_PROCEDURE = common_pb2.PROCEDURE_SIGNING_PASSWORD
CALL_SECONDS = 5.0
ATTEMPT_SECONDS = 15.0  # how long one call is repeated
_PAUSE = 0.02
# A service that stops cancels what reached it in the same moment.
_REPEATED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # what is repeated is repeated here, and counted
    ("grpc.ssl_target_name_override", "localhost"),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@dataclass(frozen=True)
class SoftCard:
    """A card's secrets, without a card."""

    entry: CardEntry
    certificate: bytes  # DER
    key: RSAPrivateKey
    static: scp03.StaticKeys

    def sign(self, text: bytes) -> bytes:
        """Sign as EF 0017 does."""
        return self.key.sign(text, PKCS1v15(), hashes.SHA256())

    def answer(self, host_challenge: bytes) -> tuple[bytes, scp03.Offer]:
        """Return the answer to INITIALIZE UPDATE (29 bytes), and what the card keeps of it."""
        card_challenge = secrets.token_bytes(scp03.CHALLENGE_LENGTH)
        offer = scp03.Offer(self.static, host_challenge, card_challenge)
        information = bytes((SIGNING_PASSWORD_KEY_VERSION, scp03.PROTOCOL, scp03.PARAMETERS))
        return self.entry.diversification_data + information + card_challenge + offer.card_cryptogram, offer


def write(offer: scp03.Offer, given: pb.AuthorizeResetResponse) -> pb.Receipt:
    """Open the channel as the card does, and return its receipt, as if of a command between."""
    command = given.external_authenticate
    header, data = command[:4], command[5:]
    assert offer.accepts(data[: scp03.CRYPTOGRAM_LENGTH])
    channel = offer.open(header, data)
    return pb.Receipt(chaining_value=channel._chaining_value, r_mac=channel.response_mac(0x9000))


def issue(directory: Path, count: int, now: datetime.datetime) -> list[SoftCard]:
    """Issue cards under the test authority of a centre's directory."""
    master = load_master_key(directory / "keys/master.key")
    authority = certificates.load_authority(directory / "authority", "user")
    key = certificates.load_authority(directory / "authority", "sign").key  # any RSA-2048 key serves
    lifetime = certificates.lifetime(now, persona.load("locked").holder.birth_date)
    cards = []
    for _ in range(count):
        user = certificates.issue_user_certificate(authority, key.public_key(), lifetime)
        diversification = secrets.token_bytes(10)
        entry = CardEntry(
            certificate=CertificateId(authority.key_id.hex(), f"{user.serial_number:x}"),
            signing_certificate_serial=f"{user.serial_number:x}",
            signing_not_before=user.not_valid_before_utc,
            signing_not_after=user.not_valid_after_utc,
            diversification_data=diversification,
            key_versions={PROCEDURE: SIGNING_PASSWORD_KEY_VERSION},
        )
        static = derive_static_keys(master, PROCEDURE, SIGNING_PASSWORD_KEY_VERSION, diversification)
        cards.append(SoftCard(entry, user.public_bytes(serialization.Encoding.DER), key, static))
    return cards


def patient(configuration: str) -> str:
    """Return a service's configuration in which one address and one card may ask as often as they like."""
    return re.sub(r"^((address|certificate)_\w+) = \d+", r"\1 = 100000", configuration, flags=re.MULTILINE)


@dataclass
class Figures:
    """What the calls of many attempts took."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0  # calls that were asked again


class Visitor:
    """One kiosk and one phone, each with a channel of its own to one or more centres."""

    def __init__(
        self, directory: Path, name: KioskId, kiosks: Sequence[str], phones: Sequence[str], figures: Figures
    ) -> None:
        """Issue a certificate for the kiosk, and connect; the first address is the one it prefers."""
        roots = (directory / "tls/server-ca.pem").read_bytes()
        authority = pki.load(*(directory / part for part in KIOSK_AUTHORITY))
        issued = pki.kiosk_certificate(authority, uri_of(name), str(name), datetime.datetime.now(datetime.UTC))
        mutual = grpc.ssl_channel_credentials(roots, _key(issued), _certificate(issued))
        self.name = name
        self._figures = figures
        self._channels = (
            grpc.aio.secure_channel(_target(kiosks), mutual, _OPTIONS),
            grpc.aio.secure_channel(_target(phones), grpc.ssl_channel_credentials(roots), _OPTIONS),
        )
        self.kiosk = kiosk_service_pb2_grpc.KioskServiceStub(self._channels[0])
        self.phone = reservation_service_pb2_grpc.ReservationServiceStub(self._channels[1])

    async def close(self) -> None:
        """Close both channels."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, method: Callable[..., Any], request: Any) -> Any:
        """Call, and repeat the very same request while the centre is away."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ATTEMPT_SECONDS
        began = time.perf_counter()
        while True:
            try:
                answer = await method(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _REPEATED or loop.time() > deadline:
                    raise
                self._figures.repeats += 1
                await asyncio.sleep(_PAUSE)
                continue
            name = type(request).__name__.removesuffix("Request")
            self._figures.milliseconds[name].append((time.perf_counter() - began) * 1000)
            return answer

    async def reserve(self, card: SoftCard) -> str:
        """Make a reservation on the phone; returns its id."""
        given = await self.call(self.phone.GetChallenge, phone_pb.GetChallengeRequest(procedure=_PROCEDURE))
        request = phone_pb.CreateReservationRequest(
            procedure=_PROCEDURE,
            challenge=given.challenge,
            user_certificate=card.certificate,
            signature=card.sign(statement(Purpose.RESERVE, PROCEDURE, "", "", given.challenge)),
            face_match=phone_pb.FACE_MATCH_NOT_PERFORMED,
        )
        made = await self.call(self.phone.CreateReservation, request)
        assert made.refusal == common_pb2.REFUSAL_UNSPECIFIED, made
        return str(made.reservation_id)

    async def begin(self) -> tuple[str, bytes]:
        """Begin an attempt; returns its id and challenge."""
        attempt = str(uuid.uuid4())
        request = pb.BeginAttemptRequest(attempt_id=attempt, procedure=_PROCEDURE)
        return attempt, (await self.call(self.kiosk.BeginAttempt, request)).challenge

    def proof(self, attempt: str, challenge: bytes, card: SoftCard) -> pb.CheckReservationRequest:
        """Return the check of a card at this kiosk."""
        signed = statement(Purpose.RESET, PROCEDURE, attempt, str(self.name), challenge)
        return pb.CheckReservationRequest(
            attempt_id=attempt, user_certificate=card.certificate, signature=card.sign(signed)
        )

    async def check(self, card: SoftCard) -> tuple[str, pb.CheckReservationResponse]:
        """Begin an attempt and let it be checked."""
        attempt, challenge = await self.begin()
        check = await self.call(self.kiosk.CheckReservation, self.proof(attempt, challenge, card))
        assert check.refusal == common_pb2.REFUSAL_UNSPECIFIED, check
        return attempt, check

    async def authorize(self, attempt: str, answer: bytes) -> pb.AuthorizeResetResponse:
        """Ask for write 1."""
        ask = pb.AuthorizeResetRequest(attempt_id=attempt, write_number=1, initialize_update_response=answer)
        given: pb.AuthorizeResetResponse = await self.call(self.kiosk.AuthorizeReset, ask)
        return given

    async def reset(self, card: SoftCard) -> str:
        """Make a whole attempt, from the question whether the service is open to the release; returns its id."""
        await self.call(self.kiosk.GetServiceStatus, pb.GetServiceStatusRequest())
        attempt, check = await self.check(card)
        answer, offer = card.answer(check.host_challenges[0])
        given = await self.authorize(attempt, answer)
        assert given.refusal == common_pb2.REFUSAL_UNSPECIFIED, given
        done = pb.ReportOutcomeRequest(
            attempt_id=attempt,
            write_number=1,
            outcome=pb.WRITE_OUTCOME_DONE,
            status_word=0x9000,
            receipt=write(offer, given),
        )
        report = await self.call(self.kiosk.ReportOutcome, done)
        assert report.verdict == pb.VERDICT_VALID, report
        released = await self.call(self.kiosk.ReleaseAttempt, pb.ReleaseAttemptRequest(attempt_id=attempt))
        assert released.reservation_state == common_pb2.RESERVATION_STATE_USED, released
        return attempt


def _target(addresses: Iterable[str]) -> str:
    return "ipv4:" + ",".join(addresses)


def _key(issued: pki.Issued) -> bytes:
    return issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(issued: pki.Issued) -> bytes:
    return issued.certificate.public_bytes(serialization.Encoding.PEM)
