"""`centrald migrate`: the tables of another version."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show_one

_GOES_DOWN = "{target} is older than what is there: what only the newer tables hold will be lost. Repeat with --yes."


def migrate(
    directory: Directory = DEFAULT_DIRECTORY,
    to: Annotated[str, typer.Option(help="Revision to go to; `head` is this version's, `base` is no tables.")] = "head",
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL that makes the tables from nothing; touch no database.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go down, too, and lose what only newer tables hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database's tables to this version, all of it or nothing.

    `centrald serve` refuses a database of another version. Stop every service on the database before a migration, and
    take a backup (pg_dump, or a copy of the file).
    """
    from centrald.config import load

    url = load(directory).storage.url
    if sql:
        from centrald.storage import migration
        from centrald.storage.database import parse

        migration.script(parse(url), to, sys.stdout)
        return
    before, after = asyncio.run(_migrate(url, directory, to, allow_down=yes))
    show_one({"before": before or "none", "after": after or "none"}, as_json=as_json)


async def _migrate(url: str, directory: Path, target: str, *, allow_down: bool) -> tuple[str | None, str | None]:
    from centrald.storage import migration
    from centrald.storage.database import Database

    database = Database.open(url, directory, service=True)  # on SQLite: not while another serves
    try:
        if migration.goes_down(await database.revision(), target) and not allow_down:
            raise typer.BadParameter(_GOES_DOWN.format(target=target))
        return await database.migrate(target)
    finally:
        await database.close()
