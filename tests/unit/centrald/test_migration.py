"""Alembic's revisions: up, down, up again, and equal to the tables the code speaks of."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from centrald.app import Centrald
from centrald.config import load
from centrald.errors import ConfigError
from centrald.initialize import initialize
from centrald.storage import migration, schema
from centrald.storage.database import Database, parse
from tests.rig.postgres import Postgres
from tests.unit.centrald.conftest import Run


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    url = "sqlite+aiosqlite:///empty.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.create())
    made = Database.open(url, tmp_path)
    yield made
    await made.close()


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


async def there(database: Database) -> set[str]:
    async with database._connections.transaction() as link:
        return await link.session.run_sync(tables)


async def test_up_down_and_up_again(database: Database) -> None:
    assert await database.revision() is None
    assert await database.migrate() == (None, schema.REVISION)
    assert await database.migrate() == (schema.REVISION, schema.REVISION)
    assert await there(database) == {*schema.metadata.tables, "alembic_version"}
    for revision in (*migration.revisions()[-2::-1], "base"):
        await database.migrate(revision)
    assert await there(database) == {"alembic_version"}
    assert await database.migrate() == (None, schema.REVISION)
    await database.check_revision()


async def test_the_revisions_make_the_tables_of_the_code(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, schema.metadata))

    await database.migrate()
    async with database._connections.transaction() as link:
        assert await link.session.run_sync(differences) == []


def test_the_last_revision_is_the_one_the_code_wants() -> None:
    assert migration.revisions()[-1] == schema.REVISION


async def test_what_is_not_of_this_version_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="centrald init"):
        await database.check_revision()
    await database.migrate()
    async with database._connections.transaction() as link:
        await link.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="revision 9999, not"):
        await database.check_revision()
    with pytest.raises(ConfigError, match="newer version"):
        await database.migrate()


async def test_a_revision_nobody_knows_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="no revision 7777; there are 0001"):
        await database.migrate("7777")
    assert await there(database) <= {"alembic_version"}


async def test_those_who_migrate_at_once_take_turns(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(postgres.create())
    several = [Database.open(url, tmp_path) for _ in range(3)]
    did = await asyncio.gather(*(one.migrate() for one in several))
    for one in several:
        await one.close()
    assert sorted(did, key=str) == [(schema.REVISION, schema.REVISION)] * 2 + [(None, schema.REVISION)]


def test_the_script_makes_the_same_tables(tmp_path: Path) -> None:
    text = io.StringIO()
    migration.script(parse("sqlite+aiosqlite:///x.db"), "head", text)
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.executescript(text.getvalue())
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert names >= {*schema.metadata.tables, "alembic_version"}
    assert not (Path.cwd() / "x.db").exists()


def test_the_script_for_postgresql(postgres: Postgres) -> None:
    text, name = io.StringIO(), postgres.create()
    migration.script(parse("postgresql+asyncpg:///x"), "head", text)
    postgres.execute(text.getvalue(), name)
    assert postgres.execute("SELECT version_num FROM alembic_version", name).strip() == schema.REVISION


def test_the_command_goes_down_only_when_told_twice(tmp_path: Path, postgres: Postgres, centrald: Run) -> None:
    directory, url = tmp_path / "c", postgres.url(postgres.create())
    there = ("--directory", directory)
    assert centrald("init", *there, "--storage-url", url)[0] == 0
    assert not list(directory.glob("*.db"))
    code, _, err = centrald("migrate", *there, "--to", "base")
    assert (code, "--yes" in err) == (2, True)
    assert centrald("migrate", *there, "--to", "base", "--yes")[0] == 0
    code, _, err = centrald("serve", *there)
    assert (code, "holds no tables" in err) == (3, True)
    code, out, _ = centrald("migrate", *there, "--sql")
    assert (code, "CREATE TABLE ledger" in out) == (0, True)
    code, out, _ = centrald("migrate", *there, "--json")
    assert (code, f'"after": "{schema.REVISION}"' in out) == (0, True)
    code, _, err = centrald("init", "--directory", tmp_path / "d", "--storage-url", url)
    assert (code, "holds tables already" in err) == (1, True)


async def test_a_service_on_old_tables_says_what_to_do(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    await asyncio.to_thread(initialize, directory, ["localhost"], always_open=True)
    with sqlite3.connect(directory / "centrald.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    service = Centrald(directory, load(directory))
    with pytest.raises(ConfigError, match="run `centrald migrate`"):
        await service.start()
    await service.stop()
