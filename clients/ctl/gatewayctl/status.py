"""What `status` prints."""

from __future__ import annotations

from jpkireset.gateway.v1.gateway_service_pb2 import ReadinessProblem, Status
from jpkireset.gateway.v1.reset_service_pb2 import State
from rich.console import Console
from rich.table import Table

from gatewayctl import texts
from gatewayctl.exits import ExitCode
from gatewayctl.link import Link
from gatewayctl.report import as_json, local, name_of
from gatewayctl.terminal import harmless, one_line


async def show_status(link: Link, *, as_lines: bool) -> ExitCode:
    """Print the status once. Raises BrokenCall."""
    return _print_status(await link.status(), as_lines=as_lines)


async def watch_status(link: Link, *, as_lines: bool) -> None:
    """Print the status now and after every change, until the call breaks. Raises BrokenCall."""
    async for status in link.watch():
        _print_status(status, as_lines=as_lines)


def _print_status(status: Status, *, as_lines: bool) -> ExitCode:
    console = Console(highlight=False, markup=False)
    if as_lines:
        _emit(console, as_json("status", status=status))
    else:
        console.print(_status_table(status))
    return ExitCode.DONE if status.ready else ExitCode.UNAVAILABLE


def _emit(console: Console, line: str) -> None:
    console.out(harmless(line), highlight=False)  # one line, however long


def _status_table(status: Status) -> Table:
    rows = [("Ready", "yes" if status.ready else "no")]
    names = (name_of(ReadinessProblem, problem) for problem in status.problems)
    rows += [("Problem", texts.readiness_problem(name)) for name in names]
    if status.central_detail:
        rows.append(("Centre", status.central_detail))
    rows.append(("Reader", status.reader or "none"))
    rows.append(("Card", "on the reader" if status.card_present else "none"))
    if status.running_attempt_id:
        rows.append(("Running attempt", status.running_attempt_id))
        rows.append(("State", name_of(State, status.running_state).removeprefix("STATE_").lower()))
    else:
        rows.append(("Running attempt", "none"))
    rows.append(("Unresolved attempts", str(status.unresolved_attempts)))
    rows.append(("Pending reports", str(status.pending_reports)))
    if status.HasField("opens_at"):
        rows.append(("Opens", local(status.opens_at)))
    if status.HasField("closes_at"):
        rows.append(("Closes", local(status.closes_at)))
    rows.append(("Kiosk", status.kiosk_id))
    rows.append(("Version", status.version))
    return _table(rows)


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*map(one_line, row))
    return table
