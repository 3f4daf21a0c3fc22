"""What `attempts` and `attempt` print: the daemon's record, one line an attempt, one line a durable step."""

from __future__ import annotations

from collections.abc import Callable

from jpkireset.gateway.v1.gateway_service_pb2 import Attempt
from jpkireset.gateway.v1.operator_service_pb2 import GetTimelineResponse, TimelineEntry
from jpkireset.gateway.v1.reason_pb2 import REASON_UNSPECIFIED, Reason
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_UNSPECIFIED, Outcome, State

from gatewayctl.exits import ExitCode
from gatewayctl.link import BrokenCall, Link, NoSuchAttempt
from gatewayctl.report import Named, as_json, clock_time, exit_code_of, name_of, outcome_lines
from gatewayctl.terminal import one_line

Say = Callable[[str], None]

OUT_OF_REACH = ("UNAVAILABLE", "UNIMPLEMENTED")  # no daemon or no right to its socket, an older daemon
ID_LENGTH = 36  # characters of a whole id; a receipt has the first eight
LOOKED_AT = 1000  # the newest attempts, among which a part of an id is looked for

HEADER = f"{'Attempt':36}  {'Started (Asia/Tokyo)':20}  {'Outcome':8}  Reason"


async def list_attempts(operators: Link, say: Say, *, unresolved: bool, limit: int, as_lines: bool) -> ExitCode:
    """Print the newest attempts. Raises BrokenCall."""
    count = 0
    async for attempt in operators.attempts(unresolved_only=unresolved, limit=limit):
        if as_lines:
            say(as_json("attempt", attempt=attempt))
        else:
            if not count:
                say(HEADER)
            say(_line(attempt))
        count += 1
    if not count and not as_lines:
        say("No attempt is unresolved." if unresolved else "There was no attempt yet.")
    return ExitCode.DONE


async def show_attempt(operators: Link, link: Link, attempt_id: str, say: Say, *, as_lines: bool) -> ExitCode:
    """Print an attempt with its timeline, or without it where the operators' socket is out of reach.

    Of the id the beginning is enough, if only one of the newest attempts begins so. Raises BrokenCall.
    """
    found = [attempt_id] if len(attempt_id) == ID_LENGTH else await _beginning_with(operators, attempt_id)
    if len(found) > 1:
        said = f"More than one attempt begins so; say which: {', '.join(found)}."
        say(as_json("more_than_one_attempt", attempt_ids=found) if as_lines else said)
        return ExitCode.NO_SUCH_ATTEMPT
    try:
        told = await _told(operators, link, found[0] if found else attempt_id)
    except NoSuchAttempt:
        said = "The daemon knows no attempt of this id: it never accepted it, or its journal was replaced since."
        say(as_json("no_such_attempt", attempt_id=attempt_id) if as_lines else said)
        return ExitCode.NO_SUCH_ATTEMPT
    attempt = told.attempt
    if as_lines:
        say(as_json("attempt", attempt=attempt, timeline=list(told.entries)))
    else:
        for line in _page(told):
            say(line)
    return exit_code_of(attempt.outcome, attempt.reason)


async def _beginning_with(operators: Link, digits: str) -> list[str]:
    newest = operators.attempts(unresolved_only=False, limit=LOOKED_AT)
    return [attempt.attempt_id async for attempt in newest if attempt.attempt_id.startswith(digits)]


async def _told(operators: Link, link: Link, attempt_id: str) -> GetTimelineResponse:
    """Ask for the timeline; a front-end's user, who may not, still learns the outcome."""
    try:
        return await operators.timeline(attempt_id)
    except BrokenCall as error:
        if error.code not in OUT_OF_REACH:
            raise
    return GetTimelineResponse(attempt=await link.attempt(attempt_id))


def _page(told: GetTimelineResponse) -> list[str]:
    attempt = told.attempt
    lines = [f"Attempt  {attempt.attempt_id}", f"State    {_word(State, attempt.state)}"]
    lines.append(f"Started  {clock_time(attempt.started_at)} (Asia/Tokyo)")
    if attempt.HasField("ended_at"):
        lines.append(f"Ended    {clock_time(attempt.ended_at)} (Asia/Tokyo)")
    ended = attempt.outcome != OUTCOME_UNSPECIFIED
    lines += ["", *(outcome_lines(attempt.outcome, attempt.reason) if ended else ["The attempt is still running."])]
    if told.entries:
        lines += ["", "Time (Asia/Tokyo)    Event         Write  Detail", *map(_step, told.entries)]
    else:
        lines += ["", "The timeline is told on the operators' socket only (--operators-socket)."]
    return lines


def _line(attempt: Attempt) -> str:
    ended = attempt.outcome != OUTCOME_UNSPECIFIED
    outcome = _word(Outcome, attempt.outcome) if ended else "running"
    reason = _word(Reason, attempt.reason) if attempt.reason != REASON_UNSPECIFIED else ""
    return one_line(f"{attempt.attempt_id:36}  {clock_time(attempt.started_at):20}  {outcome:8}  {reason}".rstrip())


def _step(entry: TimelineEntry) -> str:
    write = str(entry.write_number or "")
    return one_line(f"{clock_time(entry.time):19}  {entry.event:12}  {write:5}  {entry.detail}".rstrip())


def _word(enum: Named, value: int) -> str:
    """Return an enum's value as people say it."""
    name = name_of(enum, value)
    return name.partition("_")[2].lower().replace("_", " ") or name
