"""A centre in the test's own process: real keys, real rules, no network; and as unkind as the test wants it.

The contract in tests/contract/test_central_contract.py is run against this and against the real client and service.
"""

from __future__ import annotations

import copy
import datetime
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from centrald import cardkeys, registry
from centrald.errors import BadContent, CallError, NotYours, OutOfOrder
from centrald.rules import attempt as attempt_rules
from centrald.rules import model
from centrald.rules import report as report_rules
from centrald.rules import reservation as reservation_rules
from centrald.service.cards import digest
from centrald.statement import Purpose, statement
from gatewayd.central.circuit import CircuitState
from gatewayd.central.port import (
    Acknowledged,
    Authorization,
    Begun,
    Refusal,
    Refused,
    Report,
    Reservation,
    ReservationState,
    ServiceStatus,
    Verdict,
)
from gatewayd.clock import Clock
from gatewayd.errors import CentralRejected, CentralUnavailable
from gatewayd.secret import Secret

KIOSK = model.KioskId("chain-a", "store-0001", "kiosk-1")
PROCEDURE = model.Procedure.SIGNING_PASSWORD
OPEN_FOR = datetime.timedelta(hours=8)

T = TypeVar("T")


class FakeCentral:
    """Implements `CentralPort`. Methods are named in the script as in the port: "begin_attempt" …

    `refusals`   method → the answer it gives instead of doing anything
    `failures`   method → raised before anything is done
    `lost`       method → raised after it was done: the answer was lost on the way
    `delays`     method → seconds on the clock before it answers
    `calls`      what was called with which attempt (and n), in order
    """

    def __init__(self, clock: Clock, master_key: bytes | None = None) -> None:
        self.clock = clock
        self._master = cardkeys.FileMasterKey(master_key or secrets.token_bytes(cardkeys.MASTER_KEY_BYTES))
        self.cards: dict[model.CertificateId, model.CardEntry] = {}
        self.reservations: dict[str, model.Reservation] = {}
        self.attempts: dict[str, model.Attempt] = {}
        self.refusals: dict[str, Refusal] = {}
        self.failures: dict[str, Exception] = {}
        self.lost: dict[str, Exception] = {}
        self.delays: dict[str, float] = {}
        self.calls: list[tuple[str | int, ...]] = []
        self.reports: list[Report] = []
        self.clock_skew_s: float | None = None
        self.circuit = CircuitState.CLOSED
        self.closed = False
        self._kiosk = KIOSK

    def seen_by(self, kiosk: model.KioskId) -> FakeCentral:
        """The same centre, as another kiosk reaches it: one truth, a network of its own."""
        other = copy.copy(self)
        other._kiosk = kiosk
        other.refusals, other.failures, other.lost, other.delays = {}, {}, {}, {}
        other.calls, other.reports = [], []
        return other

    # --- before the attempt -----------------------------------------------------------------------------------------

    def register(self, entry: str) -> model.CertificateId:
        """Take a card's registry entry (JSON)."""
        (card,) = registry.parse(entry)
        self.cards[card.certificate] = card
        return card.certificate

    def reserve(self, certificate: model.CertificateId, *, in_doubt: bool = False) -> str:
        """Make a reservation as the phone would; with `in_doubt`, one whose earlier write is unresolved."""
        now = self.clock.now()
        content = challenge = secrets.token_bytes(32)
        wish = reservation_rules.Wish(certificate, PROCEDURE, model.FaceMatch.NOT_PERFORMED, challenge, content)
        made = reservation_rules.make(self._newest(certificate), wish, str(uuid.uuid4()), now)
        assert isinstance(made, reservation_rules.Made)
        if made.closed is not None:
            self._save(made.closed)
        reservation = made.reservation
        if in_doubt:
            earlier = model.Write(str(uuid.uuid4()), 1, model.WriteStatus.UNKNOWN, now)
            reservation = replace(reservation, writes=(earlier,))
        self._save(reservation)
        return reservation.id

    def state(self, reservation_id: str) -> model.State:
        """Return where a reservation stands."""
        return reservation_rules.state_of(self.reservations[reservation_id], self.clock.now())

    # --- the port ---------------------------------------------------------------------------------------------------

    @property
    def kiosk_id(self) -> str:
        return str(self._kiosk)

    async def service_status(self) -> ServiceStatus:
        await self._call("service_status")
        now = self.clock.now()
        refusal = self.refusals.get("service_status")
        opens_at, closes_at = (now + OPEN_FOR, None) if refusal else (None, now + OPEN_FOR)
        return self._answer("service_status", ServiceStatus(refusal, now, opens_at, closes_at))

    async def begin_attempt(self, attempt_id: str) -> Begun | Refused:
        if refused := await self._call("begin_attempt", attempt_id):
            return refused
        with _as_client():
            attempt = attempt_rules.repeated_begin(self.attempts.get(attempt_id), self._kiosk, PROCEDURE)
        if attempt is None:
            attempt = model.Attempt(attempt_id, self._kiosk, self.clock.now(), PROCEDURE, secrets.token_bytes(32))
            self.attempts[attempt_id] = attempt
        return self._answer("begin_attempt", Begun(self._statement(attempt)))

    async def check_reservation(self, attempt_id: str, certificate: bytes, signature: bytes) -> Reservation | Refused:
        if refused := await self._call("check_reservation", attempt_id):
            return refused
        content = digest(certificate, signature)
        with _as_client():
            attempt, check = attempt_rules.repeated_check(self.attempts.get(attempt_id), self._kiosk, content)
        if check is None:
            proof = self._prove(attempt, certificate, signature, content)
            newest = self._newest(proof.card.certificate) if proof.card else None
            challenges = tuple(secrets.token_bytes(8) for _ in range(model.MAX_WRITES))
            attempt, changed = attempt_rules.checked(attempt, proof, newest, challenges, self.clock.now())
            self.attempts[attempt_id] = attempt
            if changed is not None:
                self._save(changed)
            check = attempt.check
        assert check is not None
        if check.refusal is not None:
            return self._answer("check_reservation", Refused(Refusal(check.refusal.value)))
        assert check.expires_at is not None
        first, second, third = check.host_challenges
        found = Reservation(check.expires_at, check.in_doubt, check.key_version, (first, second, third))
        return self._answer("check_reservation", found)

    async def authorize_reset(self, attempt_id: str, n: int, card_answer: bytes) -> Authorization | Refused:
        if refused := await self._call("authorize_reset", attempt_id, n):
            return refused
        with _as_client():
            attempt, check = attempt_rules.granted_check(self.attempts.get(attempt_id), self._kiosk)
            assert check.certificate is not None
            assert check.reservation_id is not None
            reservation = self.reservations[check.reservation_id]
            now = self.clock.now()
            evidence = self._evidence(check, n, card_answer, now)
            answer = attempt_rules.authorize(attempt, reservation, n, card_answer, evidence, now)
        self._save(answer.reservation)
        if answer.refusal is not None:
            return self._answer("authorize_reset", Refused(Refusal(answer.refusal.value)))
        assert answer.transcript is not None
        channel = cardkeys.Channel(self._master, PROCEDURE, answer.transcript)
        keys = (Secret(channel.s_enc), Secret(channel.s_mac))
        return self._answer("authorize_reset", Authorization(channel.external_authenticate(), *keys))

    async def report_outcome(self, report: Report) -> Acknowledged:
        await self._call("report_outcome", report.attempt_id, report.n)
        self.reports.append(report)
        outcome = model.Outcome(report.outcome.value)
        with _as_client():
            attempt = attempt_rules.owned(self.attempts.get(report.attempt_id), self._kiosk)
            if attempt.check is None or attempt.check.reservation_id is None:
                raise OutOfOrder("no reservation was checked")
            reservation = self.reservations[attempt.check.reservation_id]
            verdict = self._verdict(reservation, report)
            reported = report_rules.report(
                attempt, reservation, report.n, outcome, report.status_word, verdict, self.clock.now()
            )
        self._save(reported.reservation)
        answer = Acknowledged(Verdict(reported.report.verdict.value), _state(reported.report.state))
        return self._answer("report_outcome", answer)

    async def release_attempt(self, attempt_id: str) -> ReservationState:
        await self._call("release_attempt", attempt_id)
        known = self.attempts.get(attempt_id)
        with _as_client():
            attempt, reservation = attempt_rules.release(
                known, attempt_id, self._kiosk, self._reservation_of(known), self.clock.now()
            )
        self.attempts[attempt_id] = attempt
        if reservation is not None:
            self._save(reservation)
        return self._answer("release_attempt", _state(attempt.released_state))

    async def get_attempt(self, attempt_id: str) -> ReservationState:
        await self._call("get_attempt", attempt_id)
        reservation = self._reservation_of(self.attempts.get(attempt_id))
        state = self.state(reservation.id) if reservation else None
        return self._answer("get_attempt", _state(state))

    async def close(self) -> None:
        self.closed = True

    # --- the script -------------------------------------------------------------------------------------------------

    async def _call(self, method: str, *about: str | int) -> Refused | None:
        self.calls.append((method, *about))
        if method in self.delays:
            await self.clock.sleep(self.delays[method])
        if method in self.failures:
            raise self.failures[method]
        return Refused(self.refusals[method]) if method in self.refusals else None

    def _answer(self, method: str, answer: T) -> T:
        if method in self.lost:
            raise self.lost[method]
        return answer

    # --- what the centre knows ----------------------------------------------------------------------------------------

    def _newest(self, certificate: model.CertificateId) -> model.Reservation | None:
        mine = [one for one in self.reservations.values() if one.certificate == certificate]
        return mine[-1] if mine else None

    def _save(self, reservation: model.Reservation) -> None:
        self.reservations[reservation.id] = reservation

    def _reservation_of(self, attempt: model.Attempt | None) -> model.Reservation | None:
        if attempt is None or attempt.check is None or attempt.check.reservation_id is None:
            return None
        return self.reservations[attempt.check.reservation_id]

    def _statement(self, attempt: model.Attempt) -> bytes:
        return statement(Purpose.RESET, PROCEDURE, attempt.id, str(self._kiosk), attempt.challenge)

    def _prove(
        self, attempt: model.Attempt, certificate: bytes, signature: bytes, content: bytes
    ) -> attempt_rules.Proof:
        parsed = x509.load_der_x509_certificate(certificate)
        authority = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert authority is not None
        key = parsed.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            key.verify(signature, self._statement(attempt), padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            return attempt_rules.Proof(content, model.Refusal.SIGNATURE_INVALID)
        card = self.cards.get(model.CertificateId(authority.hex(), f"{parsed.serial_number:x}"))
        return attempt_rules.Proof(content, _standing(card, self.clock.now()), card)

    def _evidence(
        self, check: model.Check, n: int, card_answer: bytes, now: datetime.datetime
    ) -> attempt_rules.Evidence:
        if not 1 <= n <= model.MAX_WRITES:
            raise BadContent("a write number is 1 to 3")
        assert check.certificate is not None
        card = self.cards[check.certificate]
        answer = cardkeys.CardAnswer.parse(card_answer)
        transcript = model.Transcript(
            answer.key_version, answer.diversification_data, check.host_challenges[n - 1], answer.card_challenge
        )
        genuine = (
            answer.diversification_data == card.diversification_data
            and answer.key_version == check.key_version
            and cardkeys.Channel(self._master, PROCEDURE, transcript).card_is_genuine(answer.cryptogram)
        )
        return attempt_rules.Evidence(transcript, genuine, _standing(card, now))

    def _verdict(self, reservation: model.Reservation, report: Report) -> model.Verdict:
        if report.receipt is None:
            return model.Verdict.NONE
        write = attempt_rules.find_write(reservation, report.attempt_id, report.n)
        if write is None or write.transcript is None:
            return model.Verdict.INVALID
        channel = cardkeys.Channel(self._master, PROCEDURE, write.transcript)
        valid = channel.receipt_is_valid(report.receipt.chaining_value, report.receipt.r_mac)
        return model.Verdict.VALID if valid else model.Verdict.INVALID


def _state(state: model.State | None) -> ReservationState:
    if state is None:
        return ReservationState.NONE
    # A replaced reservation was not used; a kiosk is told that it still is one.
    return ReservationState.RESERVED if state is model.State.REPLACED else ReservationState(state.value)


@contextmanager
def _as_client() -> Iterator[None]:
    """Raise what the real client raises for a broken call."""
    try:
        yield
    except CallError as error:
        if isinstance(error, BadContent | OutOfOrder):
            raise CentralRejected(
                "invalid_argument" if isinstance(error, BadContent) else "failed_precondition"
            ) from None
        raise CentralUnavailable("denied" if isinstance(error, NotYours) else "internal") from None


def _standing(card: model.CardEntry | None, now: datetime.datetime) -> model.Refusal | None:
    """Return why a card of the registry may not be reset; nobody publishes revocation lists here."""
    if card is None or PROCEDURE not in card.key_versions:
        return model.Refusal.CARD_NOT_REGISTERED
    if card.user_revoked or card.signing_revoked:
        return model.Refusal.CERTIFICATE_REVOKED
    in_time = card.signing_not_before <= now <= card.signing_not_after
    return None if in_time else model.Refusal.CERTIFICATE_EXPIRED
