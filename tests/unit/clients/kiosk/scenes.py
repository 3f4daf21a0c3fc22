"""Every screen that the citizen may see, in each of its looks: what the templates are rendered with in tests."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jpkireset.gateway.v1 import reason_pb2

from jpki_kiosk.screens import HELPED, JAPAN, KINDS, NAMES, UNAVAILABLE_NAMES, Screen

REASONS = tuple(
    name.removeprefix("REASON_") for name in reason_pb2.Reason.DESCRIPTOR.values_by_name if name != "REASON_UNSPECIFIED"
)
PANELS: Mapping[str, tuple[int, int]] = {"1024x768": (1024, 768), "1280x800": (1280, 800), "1080x1920": (1080, 1920)}
# These end an attempt before its reservation is known.
BEFORE_THE_CHECK = frozenset(
    {
        "BUSY",
        "CARD_LEFT_BEHIND",
        "OUT_OF_HOURS",
        "KIOSK_NOT_ENABLED",
        "MAINTENANCE",
        "NO_CARD",
        "NOT_A_MY_NUMBER_CARD",
        "NO_SIGNING_CERTIFICATE",
        "USER_PIN_LOCKED",
        "RESERVATION_NOT_FOUND",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REVOKED",
        "CARD_NOT_REGISTERED",
    }
)
EXPIRES = datetime.datetime(2026, 11, 24, 9, 41, tzinfo=JAPAN)
OPENS = datetime.datetime(2026, 11, 23, 6, 30, tzinfo=JAPAN)
CLOSES = datetime.datetime(2026, 11, 22, 23, 0, tzinfo=JAPAN)
USER_PIN_PROBLEMS = ("user_pin_wrong", "user_pin_format", "last_try_not_confirmed", "card_lifted")
PASSWORD_PROBLEMS = ("too_short", "too_long", "character", "no_letter", "no_digit")


def _screen(name: str, **changes: Any) -> Screen:
    kind = KINDS[name]
    screen = Screen(name=name, template=kind.template, step=kind.step, kiosk_id="demo/0001/01", can_help=name in HELPED)
    return replace(screen, **changes)


def _attempt(name: str, **changes: Any) -> Screen:
    return _screen(name, view_number=7, receipt="1A2B 3C4D", can_cancel=True, **changes)


def _ending(name: str, outcome: str, reason: str | None = None, stage: int = 0) -> Screen:
    expires_at = None if reason in BEFORE_THE_CHECK else EXPIRES
    return _screen(name, outcome=outcome, reason=reason, stage=stage, receipt="1A2B 3C4D", expires_at=expires_at)


_FRONT = ("services", "procedure", "checklist", "terms", "terms_full", "help_reserve", "help_counter")
_BUSY = ("admitting", "reading", "user_pin_busy", "checking", "authorizing")

SCENES: Mapping[str, Screen] = {
    "idle": _screen("idle", closes_at=CLOSES),
    **{name: _screen(name, can_cancel=True, can_go_back=True) for name in _FRONT},
    "help": _screen("help", can_cancel=True),
    "page_in_use": _screen("page_in_use"),
    **{name: _screen(name) for name in sorted(UNAVAILABLE_NAMES)},
    "out_of_hours": _screen("out_of_hours", opens_at=OPENS),
    **{name: _attempt(name, busy=True) for name in _BUSY},
    "writing": replace(_attempt("writing", busy=True), can_cancel=False),
    "place_card": _attempt("place_card", card_request="place"),
    "place_card.no_card_yet": _attempt("place_card", card_request="place", notice="no_card_yet"),
    "card_again": _attempt("card_again", card_request="place"),
    "card_again.same": _attempt("card_again", card_request="place_same", tries_left=2),
    "card_again.lifted": _attempt("card_again", card_request="place_same", problem="card_lifted", tries_left=2),
    "card_again.in_doubt": _attempt("card_again", card_request="place_same", in_doubt=True),
    "lift_card": _attempt("lift_card", card_request="lift"),
    "user_pin": _attempt("user_pin", tries_left=3),
    **{f"user_pin.{problem}": _attempt("user_pin", tries_left=2, problem=problem) for problem in USER_PIN_PROBLEMS},
    "user_pin_last_try": _attempt("user_pin_last_try", tries_left=1),
    "user_pin.last": _attempt("user_pin", tries_left=1, can_go_back=True),
    "new_password": _attempt("new_password", expires_at=EXPIRES),
    **{
        f"new_password.{problem}": _attempt("new_password", expires_at=EXPIRES, problem=f"password_{problem}")
        for problem in PASSWORD_PROBLEMS
    },
    "resolving": _attempt("resolving", card_request="place_same", in_doubt=True),
    "resolving_lift": _attempt("resolving_lift", card_request="lift", in_doubt=True),
    "asking_outcome": replace(_attempt("asking_outcome", busy=True), can_cancel=False),
    "outcome_unlearnt": _screen("outcome_unlearnt", receipt="1A2B 3C4D"),
    "not_begun": _screen("not_begun", receipt="1A2B 3C4D"),
    "outcome.done": _ending("outcome", "done"),
    "outcome.not_done": _ending("outcome", "not_done", "CANCELLED"),
    "outcome.unknown": _ending("outcome", "unknown", "OUTCOME_UNRESOLVED"),
    **{f"take_card.{stage}": _ending("take_card", "done", None, stage) for stage in (1, 2, 3)},
    "take_card.not_done": _ending("take_card", "not_done", "TIMED_OUT", 2),
    "take_card.unknown": _ending("take_card", "unknown", "OUTCOME_UNRESOLVED", 3),
    "end.done": _ending("end", "done"),
    **{
        f"end.{reason}": _ending("end", "unknown" if reason == "OUTCOME_UNRESOLVED" else "not_done", reason)
        for reason in REASONS
    },
    **{f"end.{reason}.unknown": _ending("end", "unknown", reason) for reason in ("INTERNAL", "RESTARTED")},
    **{
        f"outcome.{reason}": _ending("outcome", "unknown" if reason == "OUTCOME_UNRESOLVED" else "not_done", reason)
        for reason in REASONS
    },
}

assert {screen.name for screen in SCENES.values()} == set(NAMES), set(NAMES) - {s.name for s in SCENES.values()}
