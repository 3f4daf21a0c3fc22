"""What the person and the script are told: sentences for the one, one JSON object a line for the other."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1.reason_pb2 import Reason
from jpkireset.gateway.v1.reset_service_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_DONE,
    OUTCOME_UNKNOWN,
    OUTCOME_UNSPECIFIED,
    STATE_ENTER_USER_PIN,
    STATE_REMOVE_CARD,
    CardRequest,
    InputProblem,
    Outcome,
    State,
    View,
)

from gatewayctl import texts
from gatewayctl.exits import ExitCode

TOKYO = datetime.timezone(datetime.timedelta(hours=9), "Asia/Tokyo")  # no summer time since 1951


class Named(Protocol):
    """An enum of the contract."""

    DESCRIPTOR: EnumDescriptor


class Source(Enum):
    """Who said what became of an attempt."""

    VIEW = "view"  # the attempt's own stream
    RECORD = "record"  # GetAttempt
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an attempt when the command ends. Done is said only where the daemon said so."""

    attempt_id: str
    source: Source
    outcome: Outcome.ValueType
    reason: Reason.ValueType
    exit_code: ExitCode


def exit_code_of(outcome: Outcome.ValueType, reason: Reason.ValueType) -> ExitCode:
    """Return the exit code of an ended attempt."""
    if outcome == OUTCOME_DONE:
        return ExitCode.DONE
    if outcome == OUTCOME_NOT_DONE:
        text = texts.REASONS.get(name_of(Reason, reason))
        return ExitCode.UNAVAILABLE if text and text.unavailable else ExitCode.NOT_DONE
    return ExitCode.UNKNOWN if outcome == OUTCOME_UNKNOWN else ExitCode.RUNNING


def outcome_lines(outcome: Outcome.ValueType, reason: Reason.ValueType) -> list[str]:
    """Return the sentences about an outcome and its reason; an enum value newer than this program is named."""
    name = name_of(Outcome, outcome)
    lines = [texts.OUTCOMES.get(name, f"The daemon says {name}.")]
    if outcome != OUTCOME_DONE:
        name = name_of(Reason, reason)
        text = texts.REASONS.get(name)
        lines += [text.what, text.next] if text else [f"Reason: {name}."]
    return lines


def as_json(event: str, **fields: object) -> str:
    """Return one line of `--json`. A message is given with all its fields, absent ones left out."""
    return json.dumps({"event": event, **fields}, ensure_ascii=False, default=_as_dict)


def _as_dict(message: object) -> dict[str, object]:
    assert isinstance(message, Message)
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


class Reporter:
    """Tells of the views as they come; says a thing again only when it changed."""

    def __init__(self, say: Callable[[str], None], emit: Callable[[str], None] | None) -> None:
        self._say = say
        self._emit = emit
        self._last = View()

    def say(self, text: str) -> None:
        """Tell the person one thing."""
        self._say(text)

    def view(self, view: View) -> None:
        """Tell of a view."""
        if self._emit:
            self._emit(as_json("view", view=view))
        for line in self._news(view):
            self._say(line)
        self._last = view

    def ending(self, ending: Ending) -> None:
        """Tell the script how it ended; the person has been told in words before."""
        if self._emit:
            self._emit(
                as_json(
                    "ending",
                    attempt_id=ending.attempt_id,
                    outcome=name_of(Outcome, ending.outcome),
                    reason=name_of(Reason, ending.reason),
                    source=ending.source.value,
                    exit_code=int(ending.exit_code),
                )
            )

    def _news(self, view: View) -> list[str]:
        last = self._last
        lines = []
        if not last.attempt_id:
            lines.append(f"Attempt {view.attempt_id}.")
        if view.outcome != OUTCOME_UNSPECIFIED and last.outcome != view.outcome:
            lines += outcome_lines(view.outcome, view.reason)
        if view.state != last.state:
            lines.append(texts.STATES.get(name_of(State, view.state), ""))
        if view.HasField("reservation_expires_at") and not last.HasField("reservation_expires_at"):
            lines.append(texts.RESERVED_UNTIL.format(moment=local(view.reservation_expires_at)))
        if view.in_doubt and not last.in_doubt:
            lines.append(texts.IN_DOUBT)
        if view.input_problem and not view.busy:
            name = name_of(InputProblem, view.input_problem)
            lines.append(texts.INPUT_PROBLEMS.get(name, f"The daemon says {name}."))
        if view.state == STATE_ENTER_USER_PIN and not view.busy and view.HasField("user_pin_tries_left"):
            lines.append(texts.tries_left(view.user_pin_tries_left))
        if view.state == STATE_REMOVE_CARD:
            if (view.state, view.reminder_stage) != (last.state, last.reminder_stage):
                lines.append(texts.REMINDERS[min(view.reminder_stage, len(texts.REMINDERS) - 1)])
        elif view.card_request != last.card_request:
            lines.append(texts.CARD_REQUESTS.get(name_of(CardRequest, view.card_request), ""))
        return [line for line in lines if line]


def local(moment: Timestamp) -> str:
    """Return a moment in the kiosk's time."""
    return f"{moment.ToDatetime(tzinfo=datetime.UTC).astimezone(TOKYO):%a %Y-%m-%d %H:%M:%S} (Asia/Tokyo)"


def clock_time(moment: Timestamp) -> str:
    """Return a moment in the kiosk's time, as it is written in lists."""
    return f"{moment.ToDatetime(tzinfo=datetime.UTC).astimezone(TOKYO):%Y-%m-%d %H:%M:%S}"


def name_of(enum: Named, value: int) -> str:
    """Return the name of an enum's value, the number for one this program does not know."""
    known = enum.DESCRIPTOR.values_by_number.get(value)
    return known.name if known else str(value)
