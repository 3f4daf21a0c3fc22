"""`gatewayctl attempts` and `gatewayctl attempt`, against a scripted daemon."""

from __future__ import annotations

import datetime
import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from jpkireset.gateway.v1 import reset_service_pb2 as pb
from jpkireset.gateway.v1.gateway_service_pb2 import Attempt
from jpkireset.gateway.v1.operator_service_pb2 import TimelineEntry
from jpkireset.gateway.v1.reason_pb2 import REASON_CANCELLED, REASON_OUTCOME_UNRESOLVED, REASON_UNSPECIFIED, Reason
from typer.testing import CliRunner

from gatewayctl import run, texts
from gatewayctl.attempts import list_attempts, show_attempt
from gatewayctl.cli import app
from gatewayctl.exits import ExitCode
from gatewayctl.link import BrokenCall, open_link
from tests.unit.clients.scripted_daemon import Daemon, serve

UNKNOWN_ID = "The daemon knows no attempt of this id: it never accepted it, or its journal was replaced since."
NOON = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)  # 12:00 in Tokyo


def stamp(minutes: int) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(NOON + datetime.timedelta(minutes=minutes))
    return moment


def made(number: int, outcome: pb.Outcome.ValueType, reason: Reason.ValueType = REASON_UNSPECIFIED) -> Attempt:
    return Attempt(
        attempt_id=f"00000000-0000-4000-8000-{number:012}",
        state=pb.STATE_FINISHED if outcome else pb.STATE_ENTER_USER_PIN,
        outcome=outcome,
        reason=reason,
        started_at=stamp(-number),
        ended_at=stamp(1 - number) if outcome else None,
    )


ATTEMPTS = [
    made(0, pb.OUTCOME_UNSPECIFIED),
    made(1, pb.OUTCOME_DONE),
    made(2, pb.OUTCOME_NOT_DONE, REASON_CANCELLED),
    made(3, pb.OUTCOME_UNKNOWN, REASON_OUTCOME_UNRESOLVED),
]
TIMELINE = [
    TimelineEntry(time=stamp(0), event="accepted", detail="signing_password"),
    TimelineEntry(time=stamp(1), event="result", write_number=1, detail="not_done 6985"),
]


async def listed(daemon: Daemon, *, unresolved: bool = False, limit: int = 50, as_lines: bool = False) -> list[str]:
    lines: list[str] = []
    async with serve(daemon) as socket, open_link(socket) as link:
        code = await list_attempts(link, lines.append, unresolved=unresolved, limit=limit, as_lines=as_lines)
    assert code is ExitCode.DONE
    return lines


async def shown(
    operators: Daemon, kiosk: Daemon, number: int, *, digits: str = "", as_lines: bool = False
) -> tuple[list[str], ExitCode]:
    lines: list[str] = []
    attempt_id = digits or made(number, pb.OUTCOME_DONE).attempt_id
    async with (
        serve(operators) as one,
        serve(kiosk) as other,
        open_link(one) as link,
        open_link(other) as kiosk_link,
    ):
        code = await show_attempt(link, kiosk_link, attempt_id, lines.append, as_lines=as_lines)
    return lines, code


async def test_one_line_an_attempt() -> None:
    assert await listed(Daemon(attempts=ATTEMPTS, timeline=[])) == [
        "Attempt                               Started (Asia/Tokyo)  Outcome   Reason",
        "00000000-0000-4000-8000-000000000000  2026-11-22 12:00:00   running",
        "00000000-0000-4000-8000-000000000001  2026-11-22 11:59:00   done",
        "00000000-0000-4000-8000-000000000002  2026-11-22 11:58:00   not done  cancelled",
        "00000000-0000-4000-8000-000000000003  2026-11-22 11:57:00   unknown   outcome unresolved",
    ]


async def test_only_the_unresolved() -> None:
    lines = await listed(Daemon(attempts=ATTEMPTS, timeline=[]), unresolved=True)
    assert [line[:36] for line in lines[1:]] == [ATTEMPTS[3].attempt_id]
    assert await listed(Daemon(timeline=[]), unresolved=True) == ["No attempt is unresolved."]
    assert await listed(Daemon(timeline=[])) == ["There was no attempt yet."]


@pytest.mark.parametrize(("limit", "found"), [(1, 1), (50, 50), (51, 51), (120, 120), (500, 120)])
async def test_as_many_pages_as_are_wanted(limit: int, found: int) -> None:
    attempts = [made(number, pb.OUTCOME_DONE) for number in range(120)]
    lines = await listed(Daemon(attempts=attempts, timeline=[]), limit=limit, as_lines=True)
    objects = [json.loads(line) for line in lines]
    assert [one["attempt"]["attempt_id"] for one in objects] == [one.attempt_id for one in attempts[:found]]
    assert {one["event"] for one in objects} == {"attempt"}


async def test_an_attempt_with_its_timeline() -> None:
    daemon = Daemon(attempts=ATTEMPTS, timeline=TIMELINE)
    lines, code = await shown(daemon, Daemon(), 2)
    assert code is ExitCode.NOT_DONE
    assert lines[:4] == [
        "Attempt  00000000-0000-4000-8000-000000000002",
        "State    finished",
        "Started  2026-11-22 11:58:00 (Asia/Tokyo)",
        "Ended    2026-11-22 11:59:00 (Asia/Tokyo)",
    ]
    assert texts.OUTCOMES["OUTCOME_NOT_DONE"] in lines
    assert lines[-3:] == [
        "Time (Asia/Tokyo)    Event         Write  Detail",
        "2026-11-22 12:00:00  accepted             signing_password",
        "2026-11-22 12:01:00  result        1      not_done 6985",
    ]
    (line,), _ = await shown(daemon, Daemon(), 2, as_lines=True)
    told = json.loads(line)
    assert (told["event"], told["attempt"]["outcome"]) == ("attempt", "OUTCOME_NOT_DONE")
    assert [(step["event"], step["write_number"]) for step in told["timeline"]] == [("accepted", 0), ("result", 1)]


async def test_without_the_operators_socket_the_outcome_is_still_told() -> None:
    kiosk = Daemon(attempts=[made(1, pb.OUTCOME_DONE)])
    lines, code = await shown(Daemon(), kiosk, 1)
    assert code is ExitCode.DONE
    assert texts.OUTCOMES["OUTCOME_DONE"] in lines
    assert "operators' socket" in lines[-1]


async def test_an_attempt_that_never_was() -> None:
    lines, code = await shown(Daemon(timeline=[]), Daemon(), 7)
    assert (lines, code) == ([UNKNOWN_ID], ExitCode.NO_SUCH_ATTEMPT)


async def test_the_digits_of_a_receipt_are_enough() -> None:
    attempts = [made(number, pb.OUTCOME_DONE) for number in range(60)]
    attempts.append(Attempt(attempt_id="492525af-9f4a-46dc-bd68-5d3abab0e4d9", outcome=pb.OUTCOME_UNKNOWN))
    lines, code = await shown(Daemon(attempts=attempts, timeline=TIMELINE), Daemon(), 0, digits="492525af")
    assert (lines[0], code) == ("Attempt  492525af-9f4a-46dc-bd68-5d3abab0e4d9", ExitCode.UNKNOWN)
    lines, code = await shown(Daemon(attempts=attempts, timeline=[]), Daemon(), 0, digits="492525a0")
    assert (lines, code) == ([UNKNOWN_ID], ExitCode.NO_SUCH_ATTEMPT)


async def test_of_several_that_begin_so_none_is_taken_for_the_one() -> None:
    two = [made(1, pb.OUTCOME_DONE), made(2, pb.OUTCOME_NOT_DONE)]
    daemon = Daemon(attempts=two, timeline=TIMELINE)
    lines, code = await shown(daemon, Daemon(), 0, digits="00000000")
    ids = [one.attempt_id for one in two]
    assert (lines, code) == (
        [f"More than one attempt begins so; say which: {', '.join(ids)}."],
        ExitCode.NO_SUCH_ATTEMPT,
    )
    (line,), _ = await shown(daemon, Daemon(), 0, digits="00000000", as_lines=True)
    assert json.loads(line)["attempt_ids"] == ids


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("492525AF", "492525af"),
        ("492525af-9f4a-46", "492525af-9f4a-46"),
        ("492525AF9F4A46DCBD685D3ABAB0E4D9", "492525af-9f4a-46dc-bd68-5d3abab0e4d9"),
    ],
)
def test_an_id_is_taken_as_people_type_it(monkeypatch: pytest.MonkeyPatch, typed: str, meant: str) -> None:
    asked: list[str] = []

    def attempt(_: str, __: str, attempt_id: str, **___: bool) -> ExitCode:
        asked.append(attempt_id)
        return ExitCode.DONE

    monkeypatch.setattr(run, "attempt", attempt)
    assert CliRunner().invoke(app, ["attempt", typed]).exit_code == ExitCode.DONE
    assert asked == [meant]


@pytest.mark.parametrize("typed", ["492525a", "492525ag", "-", "492525af9", "%"])
def test_what_is_no_beginning_of_an_id_is_refused(typed: str) -> None:
    assert CliRunner().invoke(app, ["attempt", "--", typed]).exit_code == ExitCode.USAGE


async def test_without_a_daemon_nothing_is_listed() -> None:
    lines: list[str] = []
    async with open_link("/nonexistent/operators.sock") as link:
        with pytest.raises(BrokenCall, match="UNAVAILABLE"):
            await list_attempts(link, lines.append, unresolved=False, limit=1, as_lines=False)
    assert lines == []
