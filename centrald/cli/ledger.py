"""`centrald ledger`: what happened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Exit, Limit, on_database, show, show_one, transact
from centrald.errors import AlreadyThere
from centrald.storage.ledger import Entry

if TYPE_CHECKING:
    from centrald.storage.chain import Head, Record
    from centrald.storage.database import Database
    from centrald.storage.transaction import Transaction

_BATCH = 5_000  # entries of one transaction: the service is not kept waiting for long

app = typer.Typer(
    help="The append-only ledger, in which each entry carries the hash of the one before in its lane: show, verify, "
    "export.",
    no_args_is_help=True,
)


@app.command("show")
def show_ledger(
    directory: Directory = DEFAULT_DIRECTORY,
    attempt: Annotated[str | None, typer.Option(help="Only this attempt.")] = None,
    reservation: Annotated[str | None, typer.Option(help="Only this reservation.")] = None,
    contradictions: Annotated[
        bool, typer.Option("--contradictions", help="Only reports that fit nothing, for people to look at.")
    ] = False,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """Show the last entries, oldest first: what happened, the states before and after, verdict and transcript.

    Neither a receipt's bytes nor a key is ever recorded.
    """
    entries = transact(directory, lambda tx: tx.entries(limit, attempt, reservation, contradictions=contradictions))
    show([_row(entry) for entry in entries], as_json=as_json, title="Ledger")


@app.command()
def export(
    directory: Directory = DEFAULT_DIRECTORY,
    out: Annotated[str, typer.Option(help="File to write, new only; - is standard output.")] = "-",
    after: Annotated[
        Path | None,
        typer.Option(help="Only what came after an earlier `verify --json`: the file it wrote.", dir_okay=False),
    ] = None,
) -> None:
    """Write the entries as JSON lines, lane by lane, of each the oldest first.

    A line's `hash` is SHA-256 of the line without it, as canonical JSON (RFC 8785: keys in order, no spaces,
    UTF-8), and `previous` is the hash of the line before in its `lane` (a line that names none is of lane 0).
    Anyone can verify it without this program.
    """
    import json

    start = {lane: head.seq for lane, head in _noted(after).items()} if after else {}
    with _opened(out) as file:
        _each(directory, start, lambda entry: file.write(json.dumps(entry, ensure_ascii=False) + "\n"))


@app.command()
def verify(
    directory: Directory = DEFAULT_DIRECTORY,
    file: Annotated[
        Path | None, typer.Option(help="Verify an export instead; it may begin anywhere.", exists=True, dir_okay=False)
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            help="What `verify --json` wrote earlier, and was kept elsewhere: all of that must still be there.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify every chain; says which entries were changed, removed or reordered, and ends with exit code 1 then.

    Keep what --json prints somewhere else, day by day, and give it as --known later: who can write to the database can
    make whole chains anew, and that shows only this way.
    """
    from centrald.storage.chain import Fault, Verifier

    verifier = Verifier(_noted(known) if known else None)
    faults: list[Fault] = []
    if file is not None:
        faults += verifier.read(file.read_text(encoding="utf-8").splitlines())
        faults += verifier.finish(None)
    else:
        heads = _each(directory, {}, lambda entry: faults.extend(verifier.take(entry)))
        faults += verifier.finish(heads)
    for fault in faults:
        typer.echo(f"centrald: {fault.problem}", err=True)
    shown: dict[str, Any] = {"entries": verifier.checked, "lanes": len(verifier.ends), "intact": not faults}
    if as_json:
        shown["heads"] = {str(lane): {"seq": end.seq, "hash": end.hash.hex()} for lane, end in verifier.ends.items()}
        shown["faults"] = [asdict(fault) for fault in faults]
    show_one(shown, as_json=as_json)
    if faults:
        raise typer.Exit(Exit.REFUSED)


def _noted(path: Path) -> dict[int, Head]:
    """Return the heads of a document of `verify --json`."""
    import json

    from centrald.storage.chain import Head

    try:
        heads = json.loads(path.read_text(encoding="utf-8"))["heads"]
        return {int(lane): Head(int(one["seq"]), bytes.fromhex(one["hash"])) for lane, one in heads.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise typer.BadParameter(f"{path} is not what `ledger verify --json` prints") from None


def _opened(out: str) -> AbstractContextManager[TextIO]:
    if out == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(out).open("x", encoding="utf-8")
    except FileExistsError:
        raise AlreadyThere(f"{out} exists") from None


def _each(directory: Path, after: dict[int, int], do: Callable[[Record], object]) -> dict[int, Head]:
    """Do this with every entry that follows these numbers, by lane and in order; returns where the lanes end."""
    reached = dict(after)

    async def read(tx: Transaction, lane: int) -> bool:
        """Go on in a lane; tells whether there may be more."""
        entries = await tx.entries_after(lane, reached.get(lane, 0), _BATCH)
        for entry in entries:
            do(entry)
        if entries and isinstance(last := entries[-1].get("seq"), int):
            reached[lane] = last
            return len(entries) == _BATCH
        return False

    async def run(database: Database) -> dict[int, Head]:
        async with database.transaction() as tx:
            lanes = sorted(await tx.ledger_lanes(), key=str)
        for lane in lanes:
            more = True
            while more:
                async with database.transaction() as tx:
                    more = await read(tx, lane)
        async with database.transaction() as tx:  # what came meanwhile: nobody appends while it is read
            heads = await tx.ledger_heads()
            for lane in heads:
                while await read(tx, lane):
                    pass
        return heads

    return on_database(directory, run)


def _row(entry: Entry) -> dict[str, Any]:
    transcript = entry.transcript
    return {
        "lane": entry.lane,
        "seq": entry.seq,
        "at": entry.at,
        "event": entry.event,
        "kiosk": entry.kiosk,
        "attempt_id": entry.attempt_id,
        "n": entry.n,
        "reservation_id": entry.reservation_id,
        "state_before": entry.state_before,
        "state_after": entry.state_after,
        "refusal": entry.refusal,
        "outcome": entry.outcome,
        "status_word": None if entry.status_word is None else f"{entry.status_word:04X}",
        "verdict": entry.verdict,
        "face_match": entry.face_match,
        "contradiction": entry.contradiction,
        "detail": entry.detail,
        "key_version": transcript and transcript.key_version,
        "diversification_data": transcript and transcript.diversification_data,
        "host_challenge": transcript and transcript.host_challenge,
        "card_challenge": transcript and transcript.card_challenge,
    }
