"""The append-only ledger: what happened, when, by whom, and what state it made."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum

from centrald.rules.model import FaceMatch, Outcome, Refusal, State, Transcript, Verdict


class Event(Enum):
    """What happened."""

    RESERVED = "reserved"
    REPLACED = "replaced"  # a newer reservation took the place of this one
    BEGUN = "begun"
    CHECKED = "checked"
    AUTHORIZED = "authorized"
    NOT_AUTHORIZED = "not_authorized"
    REPORTED = "reported"
    RELEASED = "released"
    SILENT = "silent"  # 20 minutes without a report; noticed when next read
    KIOSK_ADDED = "kiosk_added"
    KIOSK_RENEWED = "kiosk_renewed"
    KIOSK_ENABLED = "kiosk_enabled"  # or its chain or store
    KIOSK_DISABLED = "kiosk_disabled"
    MAINTENANCE_ADDED = "maintenance_added"
    MAINTENANCE_CANCELLED = "maintenance_cancelled"
    CARD_REGISTERED = "card_registered"
    CARD_REVOKED = "card_revoked"
    CRL_IMPORTED = "crl_imported"
    KEYS_ADDED = "keys_added"
    PURGED = "purged"  # reservations that were long over were forgotten


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger; number and hashes (32 bytes) are given when it is appended."""

    event: Event
    at: datetime.datetime
    lane: int = 0
    seq: int = 0  # within the lane, from 1
    kiosk: str | None = None
    attempt_id: str | None = None
    n: int | None = None
    reservation_id: str | None = None
    state_before: State | None = None
    state_after: State | None = None
    refusal: Refusal | None = None
    outcome: Outcome | None = None
    status_word: int | None = None
    verdict: Verdict | None = None
    face_match: FaceMatch | None = None
    contradiction: bool | None = None
    transcript: Transcript | None = None
    detail: str | None = None  # what no other field says, in words; nothing of a citizen
    previous: bytes = b""  # hash of the entry before
    hash: bytes = b""
