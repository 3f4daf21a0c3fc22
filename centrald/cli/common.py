"""What every command shares: where the service lives, how results are shown, and the exit codes.

The heavy imports of all commands are inside them, so that help is quick.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum, IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from centrald.storage.database import Database
    from centrald.storage.transaction import Transaction

_T = TypeVar("_T")

Directory = Annotated[
    Path,
    typer.Option(
        "--directory",
        "-d",
        envvar="CENTRALD_DIRECTORY",
        help="The directory that `centrald init` made.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Show at most so many, the newest.")]

DEFAULT_DIRECTORY = Path("/var/lib/centrald")
EXIT_CODES = (
    "Exit codes: 0 done, 1 refused (exists already, not known, or a check failed), 2 wrong usage, 3 configuration, "
    "4 failure, 5 done in part."
)


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    CONFIGURATION = 3
    FAILURE = 4
    PARTLY = 5  # some lines of a file were not taken


def transact(directory: Path, work: Callable[[Transaction], Awaitable[_T]]) -> _T:
    """Run the work in one transaction on the service's database, also while the service runs; raises StorageFailed."""

    async def run(database: Database) -> _T:
        async with database.transaction() as tx:
            return await work(tx)

    return on_database(directory, run)


def on_database(directory: Path, work: Callable[[Database], Awaitable[_T]]) -> _T:
    """Run the work with the service's database, also while the service runs; raises StorageFailed."""
    from centrald.config import load
    from centrald.storage.database import Database

    async def run() -> _T:
        database = Database.open(load(directory).storage.url, directory)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def note_in_ledger(directory: Path, event: str, detail: str) -> None:
    """Append to the ledger what an operator did outside the database; `event` is the name of an Event."""

    async def work(tx: Transaction) -> None:
        from centrald.storage.ledger import Entry, Event

        tx.append(Entry(Event[event], tx.now, detail=detail))

    transact(directory, work)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: names of enums, RFC 3339 times, hexadecimal bytes."""
    match value:
        case Enum():
            return value.value
        case datetime.datetime():
            return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case _:
            return value


def show(rows: Iterable[dict[str, Any]], *, as_json: bool, title: str) -> None:
    """Print rows as JSON lines, or as a table (of what has a value in any row)."""
    ready = [{name: plain(value) for name, value in row.items()} for row in rows]
    if as_json:
        for row in ready:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in ready for name, value in row.items() if value is not None))
    table = Table(*names, title=title, title_justify="left")
    for row in ready:
        table.add_row(*("" if row.get(name) is None else str(row.get(name)) for name in names))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 400)
    console.print(table if ready else f"{title}: none", markup=False, highlight=False)


def show_one(row: dict[str, Any], *, as_json: bool) -> None:
    """Print one object as JSON, or a line for each of its fields."""
    ready = {name: plain(value) for name, value in row.items()}
    if as_json:
        typer.echo(json.dumps(ready, ensure_ascii=False))
        return
    for name, value in ready.items():
        if value is not None:
            typer.echo(f"{name}: {value}")
