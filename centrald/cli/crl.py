"""`centrald crl`: the revocation lists of the card authorities."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, note_in_ledger, show, show_one
from centrald.clock import SystemClock
from centrald.errors import ConfigError

if TYPE_CHECKING:
    from centrald.revocation import ListState, Revocations

app = typer.Typer(help="Revocation lists of the card authorities: import, list.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A revocation list, DER or PEM; - is standard input.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Verify a revocation list and put it in the place of its authority's last one.

    It must be signed by an authority the service knows, cover all its certificates, and not be older than the one in
    use. Running services notice it by themselves (`revocation.look_seconds`); on several machines import it on each.
    """
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    revocations = _loaded(directory)
    try:
        known, new = revocations.put(data, SystemClock().now())
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    if new:
        note_in_ledger(directory, "CRL_IMPORTED", f"number {known.number} of {known.authority_key_id}")
    row = {
        "authority": known.authority_key_id,
        "number": known.number,
        "next_update": known.next_update,
        "revoked": len(known.serials),
        "new": new,
    }
    show_one(row, as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List the authorities, and whether their revocation lists may be relied on.

    current: before its nextUpdate. stale: past it, counts on for `revocation.grace_hours`; import the next one now.
    overdue: past that too, and no attempt begins. missing: only the registry says what is revoked (and no attempt
    begins where `revocation.required` is true).
    """
    states = _loaded(directory).states(SystemClock().now())
    show([_row(one) for one in states], as_json=as_json, title="Revocation lists")


def _row(state: ListState) -> dict[str, Any]:
    known = state.known
    return {
        "role": state.role,
        "authority": state.authority_key_id,
        "condition": state.condition,
        "number": known and known.number,
        "this_update": known and known.this_update,
        "next_update": known and known.next_update,
        "revoked": len(known.serials) if known else None,
    }


def _loaded(directory: Path) -> Revocations:
    from centrald.app import revocations_of
    from centrald.config import load

    revocations = revocations_of(directory, load(directory))
    revocations.load(SystemClock().now())
    return revocations
