"""What stands before 「同意する」: the places a citizen walks through without the daemon, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Place(StrEnum):
    """A screen that belongs to no attempt; its name is the screen's."""

    IDLE = "idle"
    SERVICES = "services"  # 「行政サービス」
    PROCEDURE = "procedure"  # 「署名用パスワードの初期化・再設定」
    CHECKLIST = "checklist"
    TERMS = "terms"
    TERMS_FULL = "terms_full"
    HELP_RESERVE = "help_reserve"  # 予約のしかた
    HELP_COUNTER = "help_counter"  # 窓口のご案内


# What a press does where; a press that is not listed means nothing there. 「同意する」 (`AGREE`) begins an attempt.
TABLE: Mapping[tuple[Place, str], Place] = {
    (Place.IDLE, "touch"): Place.SERVICES,
    (Place.SERVICES, "reset"): Place.PROCEDURE,
    (Place.SERVICES, "back"): Place.IDLE,
    (Place.PROCEDURE, "signing-password"): Place.CHECKLIST,
    (Place.PROCEDURE, "back"): Place.SERVICES,
    (Place.CHECKLIST, "ready"): Place.TERMS,
    (Place.CHECKLIST, "no-reservation"): Place.HELP_RESERVE,
    (Place.CHECKLIST, "no-pin"): Place.HELP_COUNTER,
    (Place.CHECKLIST, "back"): Place.PROCEDURE,
    (Place.TERMS, "full-terms"): Place.TERMS_FULL,
    (Place.TERMS, "decline"): Place.IDLE,
    (Place.TERMS, "back"): Place.CHECKLIST,
    (Place.TERMS_FULL, "back"): Place.TERMS,
    (Place.HELP_RESERVE, "back"): Place.CHECKLIST,
    (Place.HELP_RESERVE, "finish"): Place.IDLE,
    (Place.HELP_COUNTER, "back"): Place.CHECKLIST,
    (Place.HELP_COUNTER, "finish"): Place.IDLE,
    **{(place, "cancel"): Place.IDLE for place in Place if place is not Place.IDLE},
}

AGREE = "agree"
AGREED_AT = frozenset({Place.TERMS, Place.TERMS_FULL})

# Dead ends that need no daemon: they are read to the end, whatever becomes of the service meanwhile.
LEAFLETS = frozenset({Place.HELP_RESERVE, Place.HELP_COUNTER})

LIMIT_S = 90.0  # without a press, everywhere but at IDLE
