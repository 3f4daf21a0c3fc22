"""From one revision of the tables to another, by Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from centrald.errors import ConfigError
from centrald.storage import postgres
from centrald.storage.schema import revision_of

BASE = "base"
HEAD = "head"


def _config(output: TextIO | None = None) -> Config:
    config = Config() if output is None else Config(output_buffer=output)
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))  # the option's own interpolation
    return config


def revisions() -> list[str]:
    """Return every revision, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def migrate(connection: sa.Connection, target: str = HEAD) -> tuple[str | None, str | None]:
    """Go up or down to the target, inside the connection's transaction; returns the revisions before and after.

    Raises ConfigError for a target nobody knows. On PostgreSQL two that migrate at once take turns.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(postgres.MIGRATION_LOCK)))
    before = revision_of(connection)
    known = revisions()
    if before is not None and before not in known:
        raise ConfigError(f"the database is at revision {before}, which a newer version made")
    config = _config()
    config.attributes["connection"] = connection
    (command.downgrade if goes_down(before, target) else command.upgrade)(config, _known(target))
    return before, revision_of(connection)


def goes_down(before: str | None, target: str) -> bool:
    """Tell whether the target is older than what is there; raises ConfigError for one nobody knows."""
    order = [BASE, *revisions()]
    return order.index(_known(target)) < order.index(before or BASE)


def script(url: sa.URL, target: str, output: TextIO) -> None:
    """Write the SQL that makes the tables of the target from nothing; touches no database."""
    config = _config(output)
    config.attributes["url"] = url
    command.upgrade(config, _known(target), sql=True)


def _known(target: str) -> str:
    known = revisions()
    if target == HEAD:
        return known[-1]
    if target != BASE and target not in known:
        raise ConfigError(f"no revision {target}; there are {', '.join(known)}, {HEAD} and {BASE}")
    return target
