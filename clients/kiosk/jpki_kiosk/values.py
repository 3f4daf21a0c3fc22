"""What the daemon says, in values of our own: the screens know nothing of gRPC."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where an attempt stands; the names are those of `jpkireset.gateway.v1.State`."""

    UNSPECIFIED = "unspecified"  # also: a state this version does not know
    ADMITTING = "admitting"
    WAITING_FOR_CARD = "waiting_for_card"
    READING_CARD = "reading_card"
    ENTER_USER_PIN = "enter_user_pin"
    CHECKING_RESERVATION = "checking_reservation"
    ENTER_NEW_PASSWORD = "enter_new_password"  # noqa: S105 - a state's name
    AUTHORIZING = "authorizing"
    WRITING = "writing"
    RESOLVING = "resolving"
    REMOVE_CARD = "remove_card"
    FINISHED = "finished"


class CardRequest(StrEnum):
    """What the citizen is asked to do with the card; the names are those of `jpkireset.gateway.v1.CardRequest`."""

    NONE = "none"
    PLACE = "place"
    PLACE_SAME = "place_same"
    LIFT = "lift"


class Outcome(StrEnum):
    """What became of the card; the names are those of `jpkireset.gateway.v1.Outcome`."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a running attempt, as `jpkireset.gateway.v1.View` has it."""

    number: int
    attempt_id: str
    state: State
    card_request: CardRequest = CardRequest.NONE
    busy: bool = False
    stage: int = 0  # 0-3: how insistently to remind of the card
    tries_left: int | None = None
    problem: str | None = None  # the proto's name in lower case without its prefix
    seconds_left: float | None = None  # as of the moment it was sent
    expires_at: datetime.datetime | None = None
    in_doubt: bool = False
    cancellable: bool = False
    outcome: Outcome | None = None
    reason: str | None = None  # the proto's name without REASON_


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the daemon has recorded of an attempt, as `jpkireset.gateway.v1.Attempt` has it."""

    attempt_id: str
    state: State
    outcome: Outcome | None = None
    reason: str | None = None
    ended_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the daemon says of itself, as far as a screen needs it."""

    ready: bool
    problems: tuple[str, ...] = ()  # the proto's names without READINESS_PROBLEM_
    card_present: bool = False
    running_attempt_id: str = ""
    kiosk_id: str = ""
    opens_at: datetime.datetime | None = None
    closes_at: datetime.datetime | None = None
