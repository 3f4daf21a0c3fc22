"""What the session needs of the centre. `client.py` is the real one; the tests have a fake, under the same contract."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from gatewayd.central.circuit import CircuitState
from gatewayd.secret import Secret

# `CentralUnavailable.detail` when the centre is not there at all, whatever the call is (`failure.py`).
ABSENT = frozenset({"dns", "refused", "unreachable", "tls", "deadline", "unavailable"})
SILENT_IN_A_ROW = 2  # attempts whose calls had no answer: nobody is there. One alone may have a trouble of its own
MALFORMED = "malformed"  # an answer that is none


class Refusal(Enum):
    """Why the centre does not do what was asked; the names are those of `jpkireset.central.v1.Refusal`."""

    OUT_OF_HOURS = "out_of_hours"
    MAINTENANCE = "maintenance"
    KIOSK_NOT_ENABLED = "kiosk_not_enabled"
    RESERVATION_NOT_FOUND = "reservation_not_found"
    RESERVATION_EXPIRED = "reservation_expired"
    RESERVATION_USED = "reservation_used"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_NOT_TRUSTED = "certificate_not_trusted"
    SIGNATURE_INVALID = "signature_invalid"
    CARD_NOT_REGISTERED = "card_not_registered"
    CARD_NOT_GENUINE = "card_not_genuine"
    ATTEMPT_EXPIRED = "attempt_expired"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Refused:
    """The centre's answer is no."""

    why: Refusal


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Whether an attempt may begin now."""

    refusal: Refusal | None
    now: datetime.datetime  # the centre's clock
    opens_at: datetime.datetime | None
    closes_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class Begun:
    """The attempt has begun."""

    statement: bytes  # what the card signs with its user key: covers the centre's challenge


@dataclass(frozen=True, slots=True)
class Reservation:
    """The reservation may be used."""

    expires_at: datetime.datetime
    in_doubt: bool
    key_version: int  # P1 of INITIALIZE UPDATE, 1-127
    host_challenges: tuple[bytes, bytes, bytes]  # 8 bytes each, for n = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Authorization:
    """One write is authorised."""

    external_authenticate: bytes  # ready-made APDU, 21 bytes
    s_enc: Secret  # 16 bytes
    s_mac: Secret  # 16 bytes


class WriteOutcome(Enum):
    """What became of one write."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The card's own receipt. With the card's keys it would tell a right guess of the password: no text shows it."""

    chaining_value: bytes = field(repr=False)  # 16 bytes
    r_mac: bytes = field(repr=False)  # 8 bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What became of write `n` of an attempt."""

    attempt_id: str
    n: int  # 1-3
    outcome: WriteOutcome
    receipt: Receipt | None = None
    status_word: int = 0  # with NOT_DONE; 0: nothing was sent


class ReservationState(Enum):
    """Where a reservation stands at the centre."""

    NONE = "none"
    RESERVED = "reserved"
    AUTHORIZED = "authorized"
    USED = "used"
    IN_DOUBT = "in_doubt"
    CLOSED_UNKNOWN = "closed_unknown"


class Verdict(Enum):
    """What the centre makes of a receipt."""

    NONE = "none"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The centre has recorded a report."""

    verdict: Verdict
    reservation: ReservationState


class CentralPort(Protocol):
    """The centre. Every call raises CentralUnavailable after its step's budget (3 s a call, 10 s a step).

    The calls that have an effect raise CentralRejected when the centre refuses them as malformed or out of order.
    """

    @property
    def kiosk_id(self) -> str:
        """This kiosk's id as its certificate says it: chain/store/kiosk."""
        ...

    @property
    def circuit(self) -> CircuitState:
        """Whether steps are tried at all; reports and releases always are."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """The centre's clock minus ours when last heard, in seconds; None before."""
        ...

    async def service_status(self) -> ServiceStatus:
        """Ask whether an attempt may begin; changes nothing."""
        ...

    async def begin_attempt(self, attempt_id: str) -> Begun | Refused:
        """Begin the attempt and fetch what the card is to sign. Repeated within the step: idempotent."""
        ...

    async def check_reservation(self, attempt_id: str, certificate: bytes, signature: bytes) -> Reservation | Refused:
        """Show the user certificate (DER) and its signature (256 bytes) over the statement."""
        ...

    async def authorize_reset(self, attempt_id: str, n: int, card_answer: bytes) -> Authorization | Refused:
        """Ask for write n with the card's answer to INITIALIZE UPDATE (29 bytes). Budget 5 s in all."""
        ...

    async def report_outcome(self, report: Report) -> Acknowledged:
        """Deliver a report once (3 s); the outbox repeats. Raises CentralUnavailable, or CentralRejected for good."""
        ...

    async def release_attempt(self, attempt_id: str) -> ReservationState:
        """Deliver a release once (3 s); the outbox repeats. Raises CentralUnavailable, or CentralRejected for good."""
        ...

    async def get_attempt(self, attempt_id: str) -> ReservationState:
        """Ask what became of the attempt's reservation (3 s). Raises CentralUnavailable."""
        ...

    async def close(self) -> None:
        """Close the channel."""
        ...
