"""`centrald ledger`: what happened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Exit, Limit, on_database, show, show_one, transact
from centrald.errors import AlreadyThere
from centrald.storage.ledger import Entry

if TYPE_CHECKING:
    from centrald.storage.chain import Head, Record
    from centrald.storage.database import Database

_BATCH = 5_000  # entries of one transaction: the service is not kept waiting for long

app = typer.Typer(
    help="The append-only ledger, in which each entry carries the hash of the one before: show, verify, export.",
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
    after: Annotated[int, typer.Option(min=0, help="Only the entries that follow this number.")] = 0,
) -> None:
    """Write the entries as JSON lines, oldest first.

    A line's `hash` is SHA-256 of the line without it, as canonical JSON (RFC 8785: keys in order, no spaces, UTF-8),
    and `previous` is the hash of the line before: anyone can verify it without this program.
    """
    import json

    with _opened(out) as file:
        _each(directory, after, lambda entry: file.write(json.dumps(entry, ensure_ascii=False) + "\n"))


@app.command()
def verify(
    directory: Directory = DEFAULT_DIRECTORY,
    file: Annotated[
        Path | None, typer.Option(help="Verify an export instead; it may begin anywhere.", exists=True, dir_okay=False)
    ] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:HASH", help="An entry noted earlier that must still be there; repeat for more."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the whole chain; says which entries were changed, removed or reordered, and ends with exit code 1 then.

    Note `last_seq` and `last_hash` somewhere else, day by day, and give them as --known later: who can write to the
    database can make a whole new chain, and that shows only this way.
    """
    from centrald.storage.chain import Fault, Verifier

    verifier = Verifier(dict(_noted(one) for one in known or ()))
    faults: list[Fault] = []
    if file is not None:
        faults += verifier.read(file.read_text(encoding="utf-8").splitlines())
        faults += verifier.finish(None)
    else:
        head = _each(directory, 0, lambda entry: faults.extend(verifier.take(entry)))
        faults += verifier.finish(head)
    for fault in faults:
        typer.echo(f"centrald: {fault.problem}", err=True)
    found = [{"seq": fault.seq, "problem": fault.problem} for fault in faults]
    shown = {"entries": verifier.checked, "last_seq": verifier.end.seq, "last_hash": verifier.end.hash}
    show_one({**shown, "intact": not faults, **({"faults": found} if as_json else {})}, as_json=as_json)
    if faults:
        raise typer.Exit(Exit.REFUSED)


def _noted(text: str) -> tuple[int, bytes]:
    seq, _, digest = text.partition(":")
    try:
        noted = int(seq), bytes.fromhex(digest)
    except ValueError:
        noted = 0, b""
    if len(noted[1]) != 32:  # SHA-256
        raise typer.BadParameter(f"{text!r} is not SEQ:HASH as `verify` prints them")
    return noted


def _opened(out: str) -> AbstractContextManager[TextIO]:
    if out == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(out).open("x", encoding="utf-8")
    except FileExistsError:
        raise AlreadyThere(f"{out} exists") from None


def _each(directory: Path, after: int, do: Callable[[Record], object]) -> Head:
    """Do this with every entry, in order, to the end of the ledger; returns where that is."""

    async def run(database: Database) -> Head:
        seq = after
        while True:
            async with database.transaction() as tx:
                entries, head = await tx.entries_after(seq, _BATCH), None
                if len(entries) < _BATCH:  # the end is near: nobody appends while it is read
                    head = await tx.ledger_head()
                    entries = await tx.entries_after(seq, _BATCH)
            for entry in entries:
                do(entry)
            if head is not None and len(entries) < _BATCH:
                return head
            seq = int(entries[-1]["seq"])

    return on_database(directory, run)


def _row(entry: Entry) -> dict[str, Any]:
    transcript = entry.transcript
    return {
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
