"""The statements of every call, carried out on the driver's own connection.

SQLAlchemy builds every statement and knows how values are stored, for both databases. What it does around each
execution (contexts, cursors, greenlets, results of many shapes) costs several times what driver and database take; here
a statement is compiled once, and from then on only values pass. `Link` is one connection inside one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from centrald.errors import StorageFailed

Values = Mapping[str, Any]
Row = dict[str, Any]
Statement = sa.Select[*tuple[Any, ...]] | sa.Insert | sa.Update | sa.Delete

_Processor = Callable[[Any], Any] | None
_PARAMETER = re.compile(r"\$(\d+)")  # PostgreSQL's; no statement here has a dollar elsewhere
_WITH = "WITH "
_HOLDS = " FOR UPDATE"  # PostgreSQL's; with SQLite everything is held


class StatementFailed(StorageFailed):
    """The driver refused a statement, or lost its connection (`lost`); `sqlstate` is PostgreSQL's."""

    def __init__(self, message: str, *, sqlstate: str | None = None, lost: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.lost = lost


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A statement as the driver takes it."""

    text: str
    parameters: tuple[tuple[str, _Processor], ...]  # in the driver's order
    constants: Values  # parameters whose value is part of the statement
    columns: tuple[str, ...]
    converted: tuple[tuple[str, Callable[[Any], Any]], ...]  # columns whose values the driver returns otherwise
    changes: str | None  # the table it writes to
    inserts: bool
    holds: bool  # what it reads, until the transaction ends
    statement: object  # kept alive: it is known by its id

    def arguments(self, values: Values) -> list[Any]:
        """Return the values in the driver's order."""
        if self.constants:
            values = {**self.constants, **values}
        return [process(values[name]) if process else values[name] for name, process in self.parameters]

    def rows(self, found: Sequence[Sequence[Any]]) -> list[Row]:
        """Return what was found, by column."""
        made = [dict(zip(self.columns, one, strict=True)) for one in found]
        for row in made:
            for name, process in self.converted:
                if (value := row[name]) is not None:
                    row[name] = process(value)
        return made


class Compiler:
    """Compiles for one database, each statement once."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._known: dict[tuple[int, tuple[str, ...]], Prepared] = {}
        self._joined: dict[tuple[Prepared, ...], str] = {}

    def prepared(self, statement: Statement, values: Values) -> Prepared:
        """Return the statement for values of these names; it must be one that lives as long as the program."""
        names = () if isinstance(statement, sa.Select) else tuple(values)
        found = self._known.get((id(statement), names))
        if found is None:
            found = self._known[id(statement), names] = self._compiled(statement, names)
        return found

    def _compiled(self, statement: Statement, names: tuple[str, ...]) -> Prepared:
        compiled: Any = statement.compile(dialect=self._dialect, column_keys=list(names) if names else None)
        binders = compiled._bind_processors
        table = None if isinstance(statement, sa.Select) else statement.table
        processors = {
            one.keyname: one.type._cached_result_processor(self._dialect, None)
            for one in compiled._result_columns or ()
        }
        return Prepared(
            text=compiled.string,
            parameters=tuple((name, binders.get(name)) for name in compiled.positiontup),
            constants={name: bind.value for name, bind in compiled.binds.items() if not bind.required},
            columns=tuple(processors),
            converted=tuple((name, process) for name, process in processors.items() if process),
            changes=getattr(table, "name", None),
            inserts=isinstance(statement, sa.Insert),
            holds=_HOLDS in compiled.string,
            statement=statement,
        )

    def joined(self, parts: tuple[Prepared, ...]) -> str:
        """Return one statement of PostgreSQL's that carries out all of them; what it returns is the last one's.

        All see the database as it was before, in no particular order: no two may be about the same row.
        """
        text = self._joined.get(parts)
        if text is None:
            text = self._joined[parts] = _join(parts)
        return text


def _join(parts: tuple[Prepared, ...]) -> str:
    texts, offset = [], 0
    for part in parts:
        texts.append(_PARAMETER.sub(lambda found, by=offset: f"${int(found[1]) + by}", part.text))  # type: ignore[misc]
        offset += len(part.parameters)
    *before, last = texts
    named = ", ".join(f"w{number} AS ({text})" for number, text in enumerate(before))
    return f"{_WITH}{named}, {last.removeprefix(_WITH)}" if last.startswith(_WITH) else f"{_WITH}{named} {last}"


def batches(parts: Sequence[tuple[Prepared, Values]]) -> list[list[tuple[Prepared, Values]]]:
    """Split what is to be written into runs that may be joined: a table comes once, unless rows are only added."""
    runs: list[list[tuple[Prepared, Values]]] = []
    for part in parts:
        if not runs or any(_meet(part[0], other) for other, _ in runs[-1]):
            runs.append([])
        runs[-1].append(part)
    return runs


def _meet(one: Prepared, other: Prepared) -> bool:
    return one.changes == other.changes and not (one.inserts and other.inserts)


class Driver(Protocol):
    """One connection of a driver; raises StatementFailed."""

    @property
    def usable(self) -> bool:
        """Whether it is still connected."""
        ...

    @property
    def reads_alone(self) -> bool:
        """Whether a statement sees the same inside a transaction and outside, as long as nothing is held."""
        ...

    async def begin(self) -> None:
        """Begin a transaction."""
        ...

    async def commit(self) -> None:
        """Commit it."""
        ...

    async def rollback(self) -> None:
        """Roll it back."""
        ...

    async def plan_for_values(self) -> None:
        """Let the rest of the transaction plan each statement for its values, on which depends how much it reads."""
        ...

    async def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Carry out a statement and return its rows."""
        ...

    async def write(self, compiler: Compiler, parts: Sequence[tuple[Prepared, Values]]) -> Sequence[Sequence[Any]]:
        """Carry out several in order; returns the rows of the last."""
        ...

    def abandon(self) -> None:
        """Give the connection up at once, whatever it does."""
        ...


class Link:
    """A connection and one transaction on it; what is written may wait until it matters, and then goes together.

    Where a read is the same inside a transaction and outside, it begins with the first statement that holds something
    or writes. One whose only such statement is its last needs no more: a statement is done or not, as a whole.
    """

    def __init__(self, driver: Driver, compiler: Compiler, session: AsyncConnection) -> None:
        self.driver = driver
        self.dialect: sa.Dialect = session.dialect
        self.shared = False  # with SQLAlchemy, in this transaction
        self._session = session
        self.begun = False
        self._by_values = False
        self._compiler = compiler
        self._waiting: list[tuple[Prepared, Values]] = []

    @property
    def session(self) -> AsyncConnection:
        """SQLAlchemy's view of the same connection."""
        self.shared = True
        return self._session

    async def open(self) -> None:
        """Be ready for a transaction."""
        self._waiting.clear()
        self.begun = self.shared = self._by_values = False
        if not self.driver.reads_alone:
            await self.begin()

    async def begin(self) -> None:
        """Begin the transaction, if it has not yet."""
        if not self.begun:
            await self.driver.begin()
            self.begun = True

    async def commit(self) -> None:
        """Write what waits, and commit."""
        await self.flush(last=True)
        if self.begun:
            await self.driver.commit()

    async def fetch(self, statement: Statement, values: Values) -> list[Row]:
        """Carry out a statement that lives as long as the program, and return its rows."""
        if self._waiting:
            await self.flush()
        prepared = self._compiler.prepared(statement, values)
        if prepared.holds:
            await self.begin()
        return prepared.rows(await self.driver.fetch(prepared.text, prepared.arguments(values)))

    def later(self, statement: Statement, values: Values) -> None:
        """Carry out such a statement before the next one that reads, at the latest when the transaction ends."""
        self._waiting.append((self._compiler.prepared(statement, values), values))

    async def flush(self, *, last: bool = False) -> Sequence[Sequence[Any]]:
        """Write what waits; returns the rows of the last statement. `last`: only the commit follows."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return ()
        if not (last and len(batches(waiting)) == 1):
            await self.begin()
        return await self.driver.write(self._compiler, waiting)

    async def execute(self, statement: sa.Executable, values: Any = None) -> sa.CursorResult[*tuple[Any, ...]]:
        """Carry out any statement, by way of SQLAlchemy, planned for its values."""
        await self.begin()
        await self.flush()
        if not self._by_values:
            await self.driver.plan_for_values()
            self._by_values = True
        return await self.session.execute(statement, values)
