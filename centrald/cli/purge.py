"""`centrald purge`: what is over is forgotten."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, on_database, show_one
from centrald.rules.retention import KEEP, SHORTEST


def purge(
    directory: Directory = DEFAULT_DIRECTORY,
    days: Annotated[
        int, typer.Option(min=SHORTEST.days, help="Keep what was over no longer ago than so many days.")
    ] = KEEP.days,
    as_json: AsJson = False,
) -> None:
    """Delete reservations that are long over, with their attempts, now; services do it by themselves once a day.

    What is in doubt or closed as unknown stays, and so does the whole ledger. A report that a kiosk brings even later
    is refused, so keep longer than a kiosk may be away.
    """
    from centrald.service.purge import purge as forget

    keep = datetime.timedelta(days=days)
    show_one({"forgotten": on_database(directory, lambda database: forget(database, keep))}, as_json=as_json)
