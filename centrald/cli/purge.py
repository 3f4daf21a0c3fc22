"""`centrald purge`: what is over is forgotten."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show_one, transact
from centrald.rules.retention import KEEP, SHORTEST

_BATCH = 500  # of one transaction: nobody waits long behind it


def purge(
    directory: Directory = DEFAULT_DIRECTORY,
    days: Annotated[
        int, typer.Option(min=SHORTEST.days, help="Keep what was over no longer ago than so many days.")
    ] = KEEP.days,
    as_json: AsJson = False,
) -> None:
    """Delete reservations that are long over, with their attempts, also while the service runs; run it daily.

    What is in doubt or closed as unknown stays, and so does the whole ledger. A report that a kiosk brings even later
    is refused, so keep longer than a kiosk may be away.
    """
    keep, total = datetime.timedelta(days=days), 0
    while gone := transact(directory, lambda tx: tx.retention.forget(keep, _BATCH)):
        total += gone
    show_one({"forgotten": total}, as_json=as_json)
