"""`centrald ledger`: what happened."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Limit, show, transact
from centrald.storage.ledger import Entry

app = typer.Typer(help="The append-only ledger.", no_args_is_help=True)


@app.callback()
def _ledger() -> None:
    """The append-only ledger."""


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
        "key_version": transcript and transcript.key_version,
        "diversification_data": transcript and transcript.diversification_data,
        "host_challenge": transcript and transcript.host_challenge,
        "card_challenge": transcript and transcript.card_challenge,
    }
