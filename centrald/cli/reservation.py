"""`centrald reservation`: what stands where."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Limit, plain, show, show_one, transact
from centrald.errors import NotThere
from centrald.rules.model import Reservation, State, Write
from centrald.rules.reservation import in_doubt, state_of

if TYPE_CHECKING:
    from centrald.storage.transaction import Transaction

app = typer.Typer(help="Reservations: where they stand, and every write under them.", no_args_is_help=True)


@app.command("list")
def list_(
    directory: Directory = DEFAULT_DIRECTORY,
    state: Annotated[State | None, typer.Option(help="Only those that stand there now.")] = None,
    certificate: Annotated[
        str | None, typer.Option(help="Only those of the user certificate with this serial number, hexadecimal.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List reservations, the newest first."""
    from centrald import registry

    serial = None if certificate is None else registry.serial(certificate)

    async def work(tx: Transaction) -> list[dict[str, Any]]:
        return [_row(one, tx.now) for one in await tx.overview.reservations(limit, state, serial)]

    show(transact(directory, work), as_json=as_json, title="Reservations")


@app.command("show")
def show_reservation(
    reservation: Annotated[str, typer.Argument(help="Id of the reservation.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show one reservation with every write under it."""

    async def work(tx: Transaction) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = await tx.reservation(reservation)
        if found is None:
            raise NotThere(f"no reservation {reservation}")
        return _row(found, tx.now), [_write_row(write) for write in found.writes]

    row, writes = transact(directory, work)
    if as_json:
        plain_writes = [{name: plain(value) for name, value in write.items()} for write in writes]
        show_one(row | {"writes": plain_writes}, as_json=True)
        return
    show_one(row, as_json=False)
    show(writes, as_json=False, title="Writes")


def _row(reservation: Reservation, now: datetime.datetime) -> dict[str, Any]:
    return {
        "reservation_id": reservation.id,
        "state": state_of(reservation, now),
        "expired": now >= reservation.expires_at,
        "in_doubt": in_doubt(reservation),
        "procedure": reservation.procedure.name.lower(),
        "certificate_serial": reservation.certificate.serial,
        "face_match": reservation.face_match,
        "created_at": reservation.created_at,
        "expires_at": reservation.expires_at,
        "current_attempt": reservation.current_attempt,
    }


def _write_row(write: Write) -> dict[str, Any]:
    return {
        "attempt_id": write.attempt_id,
        "n": write.n,
        "status": write.status,
        "at": write.at,
        "reports": ", ".join(f"{one.outcome.value}/{one.verdict.value}" for one in write.reports) or None,
        "contradiction": any(one.contradiction for one in write.reports) or None,
    }
