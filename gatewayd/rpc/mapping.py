"""Domain ↔ proto, both ways, pure. Enums are matched by name; a test holds them complete."""

from __future__ import annotations

import datetime
import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import operator_service_pb2 as operator
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1 import reset_service_pb2 as reset

from gatewayd.dialogue.vocabulary import Outcome, Reason, State
from gatewayd.journal.port import AttemptRecord, TimelineRecord
from gatewayd.session.readiness import Status
from gatewayd.session.view import View

PROCEDURE = reset.PROCEDURE_SIGNING_PASSWORD


def view(made: View) -> reset.View:
    """Return a view as the front-end gets it."""
    shown = made.shown
    message = reset.View(
        number=made.number,
        state=state(shown.state),
        attempt_id=made.attempt_id,
        procedure=PROCEDURE,
        card_request=reset.CardRequest.Value(f"CARD_REQUEST_{shown.card_request.name}"),
        busy=shown.busy,
        reminder_stage=shown.reminder_stage,
        user_pin_tries_left=shown.user_pin_tries,
        in_doubt=shown.in_doubt,
        cancellable=shown.cancellable,
        outcome=outcome(shown.outcome),
        reason=reason(shown.reason),
    )
    if shown.input_problem is not None:
        message.input_problem = reset.InputProblem.Value(f"INPUT_PROBLEM_{shown.input_problem.name}")
    if made.seconds_left is not None:
        message.time_left.CopyFrom(duration(made.seconds_left))
    if shown.expires_at is not None:
        message.reservation_expires_at.CopyFrom(timestamp(shown.expires_at))
    return message


def status(known: Status) -> gateway.Status:
    """Return the status as callers get it."""
    message = gateway.Status(
        ready=not known.problems,
        problems=[gateway.ReadinessProblem.Value(f"READINESS_PROBLEM_{problem.name}") for problem in known.problems],
        reader=known.reader,
        card_present=known.card_present,
        running_attempt_id=known.running_attempt_id,
        unresolved_attempts=known.unresolved,
        pending_reports=known.pending,
        kiosk_id=known.kiosk_id,
        version=known.version,
        central_detail=known.central_detail,
    )
    if known.running_state is not None:
        message.running_state = state(known.running_state)
    if known.opens_at is not None:
        message.opens_at.CopyFrom(timestamp(known.opens_at))
    if known.closes_at is not None:
        message.closes_at.CopyFrom(timestamp(known.closes_at))
    return message


def attempt(record: AttemptRecord, running: State | None) -> gateway.Attempt:
    """Return an attempt as callers get it; what the centre learnt of an unknown one takes the unknown's place."""
    resolved = record.resolution if record.resolution in ("done", "not_done") else None
    message = gateway.Attempt(
        attempt_id=record.attempt_id,
        procedure=PROCEDURE,
        state=state(running or State.FINISHED),
        started_at=timestamp(record.started_at),
    )
    if said := resolved or record.outcome:
        message.outcome = outcome(Outcome[said.upper()])
    if record.reason and said != "done":
        message.reason = reason(Reason[record.reason.upper()])
    if record.ended_at is not None:
        message.ended_at.CopyFrom(timestamp(record.ended_at))
    return message


def timeline_entry(record: TimelineRecord) -> operator.TimelineEntry:
    """Return one durable step as operators get it."""
    return operator.TimelineEntry(
        time=timestamp(record.at), event=record.event, write_number=record.n, detail=record.detail
    )


def state(value: State) -> reset.State.ValueType:
    """Return the proto's state."""
    return reset.State.Value(f"STATE_{value.name}")


def outcome(value: Outcome | None) -> reset.Outcome.ValueType:
    """Return the proto's outcome."""
    return reset.OUTCOME_UNSPECIFIED if value is None else reset.Outcome.Value(f"OUTCOME_{value.name}")


def reason(value: Reason | None) -> reasons.Reason.ValueType:
    """Return the proto's reason."""
    return reasons.REASON_UNSPECIFIED if value is None else reasons.Reason.Value(f"REASON_{value.name}")


def timestamp(moment: datetime.datetime) -> Timestamp:
    """Return the proto's timestamp of an aware time."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(seconds: float) -> Duration:
    """Return the proto's duration, rounded up to whole milliseconds."""
    message = Duration()
    message.FromMilliseconds(math.ceil(seconds * 1000))
    return message
