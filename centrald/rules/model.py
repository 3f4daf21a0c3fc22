"""The values the rules speak of."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum, IntEnum

VALIDITY = datetime.timedelta(hours=24)  # life of a reservation
JUDGEMENT = datetime.timedelta(minutes=15)  # how long BeginAttempt's judgement is good
FURTHER_WRITE = datetime.timedelta(seconds=120)  # a further write after an authorised one needs no new judgement
SILENCE = datetime.timedelta(minutes=20)  # an authorised write unreported for so long is in doubt
CHALLENGE_LIFE = datetime.timedelta(minutes=5)  # of a phone's challenge
MAX_WRITES = 3  # writes of one attempt
DIVERSIFICATION_BYTES = 10  # GPC_SPE_014 7.1.1.6, key diversification data


class Procedure(IntEnum):
    """What is reset; the value enters signatures and key derivation."""

    SIGNING_PASSWORD = 1


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
    ATTEMPT_RUNNING = "attempt_running"
    CHALLENGE_EXPIRED = "challenge_expired"
    SUPERSEDED = "superseded"


class Fault(Enum):
    """What is wrong with a certificate: finer than the refusal a kiosk is told, for the ledger and the log."""

    MALFORMED = "malformed"
    WRONG_AUTHORITY = "wrong_authority"
    TAMPERED = "tampered"  # the authority's signature does not verify
    WRONG_PURPOSE = "wrong_purpose"  # not for user authentication
    WRONG_PROFILE = "wrong_profile"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    AUTHORITY_EXPIRED = "authority_expired"
    REVOKED = "revoked"
    SIGNING_EXPIRED = "signing_expired"
    SIGNING_NOT_YET_VALID = "signing_not_yet_valid"
    SIGNING_REVOKED = "signing_revoked"

    @property
    def refusal(self) -> Refusal:
        """What the kiosk is told."""
        match self:
            case Fault.REVOKED | Fault.SIGNING_REVOKED:
                return Refusal.CERTIFICATE_REVOKED
            case (
                Fault.EXPIRED
                | Fault.NOT_YET_VALID
                | Fault.AUTHORITY_EXPIRED
                | Fault.SIGNING_EXPIRED
                | Fault.SIGNING_NOT_YET_VALID
            ):
                return Refusal.CERTIFICATE_EXPIRED
            case _:
                return Refusal.CERTIFICATE_NOT_TRUSTED


class State(Enum):
    """Where a reservation stands."""

    RESERVED = "reserved"
    AUTHORIZED = "authorized"
    USED = "used"
    IN_DOUBT = "in_doubt"
    CLOSED_UNKNOWN = "closed_unknown"
    REPLACED = "replaced"  # a newer one took its place and nothing was open; to a kiosk: RESERVED, that is, not done


class WriteStatus(Enum):
    """What the centre knows of one write number."""

    OPEN = "open"  # authorised, nothing reported
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"
    DONE = "done"  # the card's receipt verified
    UNPROVEN = "unproven"  # reported as done, and the receipt does not verify
    VOID = "void"  # reported not done before it was asked for; never to be authorised
    NOT_GENUINE = "not_genuine"  # asked for with a cryptogram that does not verify; nothing was handed out


DOUBTFUL = frozenset({WriteStatus.OPEN, WriteStatus.UNKNOWN, WriteStatus.UNPROVEN})
NEVER_HANDED_OUT = frozenset({WriteStatus.VOID, WriteStatus.NOT_GENUINE})


class Outcome(Enum):
    """What a kiosk reports of one write."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


class Verdict(Enum):
    """What the centre makes of a receipt."""

    NONE = "none"
    VALID = "valid"
    INVALID = "invalid"


class FaceMatch(Enum):
    """What the phone did about the citizen's face."""

    PERFORMED = "performed"
    NOT_PERFORMED = "not performed"


@dataclass(frozen=True, slots=True, order=True)
class KioskId:
    """Who a kiosk is."""

    chain: str
    store: str
    kiosk: str

    def __str__(self) -> str:
        """Return chain/store/kiosk, as it enters the signed statement."""
        return f"{self.chain}/{self.store}/{self.kiosk}"


@dataclass(frozen=True, slots=True)
class CertificateId:
    """Which user certificate: key id of its authority and serial number, both lower-case hexadecimal."""

    authority_key_id: str
    serial: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the session keys of one channel are derived from, again and again; never the keys."""

    key_version: int  # 1-127
    diversification_data: bytes  # 10 bytes
    host_challenge: bytes  # 8 bytes
    card_challenge: bytes  # 8 bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What a kiosk reported of a write, and what it was answered."""

    outcome: Outcome
    status_word: int
    verdict: Verdict
    state: State  # where the reservation stood then
    contradiction: bool  # for people: it fits neither the order of reports nor what is known


@dataclass(frozen=True, slots=True)
class Write:
    """One write number of one attempt."""

    attempt_id: str
    n: int  # 1-3
    status: WriteStatus
    at: datetime.datetime  # authorised, refused or voided
    transcript: Transcript | None = None  # None when void
    card_answer: bytes = b""  # the answer to INITIALIZE UPDATE (29 bytes) it was asked for with
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation with every write under it, of all attempts, in the order they were asked for."""

    id: str
    certificate: CertificateId
    procedure: Procedure
    created_at: datetime.datetime
    expires_at: datetime.datetime
    face_match: FaceMatch
    challenge: bytes  # the phone's, 32 bytes; used up
    content: bytes  # digest of the request that made it
    closed: State | None = None  # REPLACED or CLOSED_UNKNOWN once a newer one took its place
    current_attempt: str | None = None  # whose check the card passed last; every other attempt is superseded
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """The recorded answer of CheckReservation."""

    content: bytes  # digest of certificate and signature
    refusal: Refusal | None
    certificate: CertificateId | None = None
    reservation_id: str | None = None
    expires_at: datetime.datetime | None = None
    in_doubt: bool = False
    key_version: int = 0
    host_challenges: tuple[bytes, ...] = ()  # 8 bytes each, for n = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one kiosk; without procedure it is the tombstone of an id released before it was seen."""

    id: str
    kiosk: KioskId
    begun_at: datetime.datetime
    procedure: Procedure | None
    challenge: bytes = b""  # 32 bytes, what the card signs
    check: Check | None = None
    released_at: datetime.datetime | None = None
    released_state: State | None = None  # what ReleaseAttempt answered


@dataclass(frozen=True, slots=True)
class CardEntry:
    """What the registry holds of a card, from its issuance."""

    certificate: CertificateId
    signing_certificate_serial: str
    signing_not_before: datetime.datetime
    signing_not_after: datetime.datetime
    diversification_data: bytes  # 10 bytes
    key_versions: dict[Procedure, int]  # 1-127
    user_revoked: bool = False
    signing_revoked: bool = False
    signing_authority_key_id: str | None = None  # unknown of cards issued before it was recorded
