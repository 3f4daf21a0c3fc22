"""`centrald maintenance`: announced windows in which no attempt begins."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show, show_one, transact
from centrald.errors import Refused
from centrald.rules.hours import Window
from centrald.storage.ledger import Entry, Event

if TYPE_CHECKING:
    from centrald.storage.maintenance import Announced
    from centrald.storage.transaction import Transaction

app = typer.Typer(
    help="Maintenance windows: no attempt begins in one; those that run go on. What is said here works at once.",
    no_args_is_help=True,
)

_LONGEST = datetime.timedelta(days=31)
_FARTHEST = datetime.timedelta(days=366)

_WHEN = "2026-12-01T01:00, in the service's time zone, or with another's: 2026-12-01T01:00+00:00."
_From = Annotated[str, typer.Argument(metavar="FROM", help=f"When it begins: {_WHEN}")]
_Until = Annotated[str, typer.Argument(metavar="UNTIL", help="When it ends, in the same form.")]


def _moment(text: str, directory: Path) -> datetime.datetime:
    from centrald.config import load

    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time such as 2026-12-01T01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=load(directory).service.hours().zone)


@app.command()
def add(
    start: _From,
    until: _Until,
    directory: Directory = DEFAULT_DIRECTORY,
    note: Annotated[str | None, typer.Option(help="Why, for colleagues; up to 200 characters.")] = None,
    as_json: AsJson = False,
) -> None:
    """Announce a window. Kiosks learn of it when they next ask, at the latest with the next attempt.

    While it lasts, attempts are refused as MAINTENANCE; before it, kiosks know when the service closes.
    """
    window = Window(_moment(start, directory), _moment(until, directory))
    if window.start >= window.end or window.end - window.start > _LONGEST:
        raise typer.BadParameter(f"a window begins before it ends, and lasts up to {_LONGEST.days} days")
    if note is not None and len(note) > 200:
        raise typer.BadParameter("a note has up to 200 characters")

    async def work(tx: Transaction) -> Announced:
        if not tx.now < window.end <= tx.now + _FARTHEST:
            raise Refused(f"the window is over already, or ends in more than {_FARTHEST.days} days")
        added = await tx.maintenance.add(window, note)
        tx.append(Entry(Event.MAINTENANCE_ADDED, tx.now, detail=_described(added)))
        return added

    show_one(_row(transact(directory, work)), as_json=as_json)


@app.command("list")
def list_(
    directory: Directory = DEFAULT_DIRECTORY,
    past: Annotated[bool, typer.Option("--all", help="Also those that are over or cancelled.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the windows that are ahead or running, in their order."""

    async def work(tx: Transaction) -> list[dict[str, Any]]:
        return [
            _row(one) | {"running": one.cancelled_at is None and one.window.start <= tx.now < one.window.end}
            for one in await tx.maintenance.announced(past=past)
        ]

    show(transact(directory, work), as_json=as_json, title="Maintenance windows")


@app.command()
def cancel(
    window: Annotated[int, typer.Argument(help="Id of the window, as `list` shows it.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Cancel a window that is ahead, or end one that runs."""

    async def work(tx: Transaction) -> Announced:
        cancelled = await tx.maintenance.cancel(window)
        tx.append(Entry(Event.MAINTENANCE_CANCELLED, tx.now, detail=_described(cancelled)))
        return cancelled

    show_one(_row(transact(directory, work)), as_json=as_json)


def _row(one: Announced) -> dict[str, Any]:
    return {
        "id": one.id,
        "from": one.window.start,
        "until": one.window.end,
        "note": one.note,
        "added_at": one.added_at,
        "cancelled_at": one.cancelled_at,
    }


def _described(one: Announced) -> str:
    ends = (
        moment.astimezone(datetime.UTC).isoformat(timespec="seconds") for moment in (one.window.start, one.window.end)
    )
    return f"window {one.id}: {' to '.join(ends)}"
