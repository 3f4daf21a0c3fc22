"""`centrald card import` and `centrald card export`: the registry to and from files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Exit, on_database, show_one
from centrald.errors import AlreadyThere, ConfigError
from centrald.registry import Format, Line, read, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from centrald.rules.model import CertificateId
    from centrald.storage.database import Database
    from centrald.storage.registry import Taken
    from centrald.storage.transaction import Transaction

    _Work = Callable[[Database], Awaitable[None]]

_BATCH = 500  # entries in one transaction: the service waits no longer than that takes
_PAGE = 1000
_SAY_EVERY = 100_000  # where no one watches a terminal
_STREAM = "-"

_Form = Annotated[
    Format | None, typer.Option("--format", help="jsonl or csv; by the file's name when not given, else jsonl.")
]


def import_cards(
    file: Annotated[Path, typer.Argument(help="JSON lines or CSV; - is standard input.")],
    directory: Directory = DEFAULT_DIRECTORY,
    form: _Form = None,
    replace_: Annotated[bool, typer.Option("--replace", help="Replace entries of the same user certificate.")] = False,
    errors: Annotated[
        Path | None, typer.Option(help="Write the lines that were not taken there, as JSON lines; a new file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import cards into the registry: every good line is taken, every other one listed with its number and reason.

    Exit code 5 says that some lines were not taken. An entry that is there with the same content is no mistake; with
    other content it needs --replace. What is revoked stays so. The same file can be imported again at any time.
    """
    with _opened_to_read(file) as lines, _opened_to_write(errors) as listed:
        done = _Import(listed, replacing=replace_)
        on_database(directory, done.run(lines, form or _form_of(file)))
    show_one(done.summary(), as_json=as_json)
    if done.refused:
        raise typer.Exit(Exit.PARTLY)


def export_cards(
    out: Annotated[Path, typer.Argument(help="A new file, readable by its owner only; - is standard output.")],
    directory: Directory = DEFAULT_DIRECTORY,
    form: _Form = None,
) -> None:
    """Export the registry in the form that import takes. Serial numbers are personal data: keep the file safe."""
    with _opened_to_write(out) as file:
        assert file is not None
        on_database(directory, _export(file, form or _form_of(out)))


class _Import:
    """One import and its counts."""

    def __init__(self, listed: IO[str] | None, *, replacing: bool) -> None:
        self._listed = listed
        self._replacing = replacing
        self.read = self.refused = 0
        self.taken: Taken | None = None

    def run(self, lines: IO[str], form: Format) -> _Work:
        async def work(database: Database) -> None:
            from centrald.storage.registry import Taken

            self.taken = Taken()
            with _Progress("lines") as progress:
                entries = read(lines, form)
                while batch := list(islice(entries, _BATCH)):
                    await self._batch(database, batch)
                    progress.to(self.read)

        return work

    async def _batch(self, database: Database, batch: list[Line]) -> None:
        good = [(line.number, line.card) for line in batch if line.card is not None]

        async def work(tx: Transaction) -> tuple[Taken, list[int]]:
            from centrald.storage.ledger import Entry, Event
            from centrald.storage.registry import Registry

            taken, refused = await Registry(tx).take([card for _, card in good], replacing=self._replacing)
            if taken.added or taken.replaced:
                detail = f"imported: {taken.added} added, {taken.replaced} replaced"
                tx.append(Entry(Event.CARD_REGISTERED, tx.now, detail=detail))
            return taken, refused

        assert self.taken is not None
        taken, refused = await database.run(work)
        self.read += len(batch)
        self.taken.added += taken.added
        self.taken.replaced += taken.replaced
        self.taken.unchanged += taken.unchanged
        bad = [(line.number, line.error) for line in batch if line.card is None]
        bad += [(good[at][0], "registered with other content; --replace replaces it") for at in refused]
        for number, why in sorted(bad):
            self._refuse(number, why or "")

    def _refuse(self, number: int, why: str) -> None:
        self.refused += 1
        if self._listed is None:
            typer.echo(f"line {number}: {why}", err=True)
        else:
            self._listed.write(json.dumps({"line": number, "error": why}) + "\n")

    def summary(self) -> dict[str, Any]:
        assert self.taken is not None
        return {
            "read": self.read,
            "added": self.taken.added,
            "replaced": self.taken.replaced,
            "unchanged": self.taken.unchanged,
            "refused": self.refused,
        }


def _export(file: IO[str], form: Format) -> _Work:
    async def work(database: Database) -> None:
        from centrald.storage.registry import Registry

        after: CertificateId | None = None
        written = 0
        file.writelines(write([], form))
        with _Progress("cards") as progress:
            while True:
                async with database.transaction() as tx:
                    page = await Registry(tx).page(after, _PAGE)
                if not page:
                    return
                lines: Iterable[str] = write(page, form)
                file.writelines(islice(lines, 1 if form is Format.CSV else 0, None))  # the header is there
                after = page[-1].certificate
                written += len(page)
                progress.to(written)

    return work


class _Progress:
    """Says on standard error how far it is: always where people watch, now and then elsewhere."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._said = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty() and self._said:
            typer.echo("\r\033[K", err=True, nl=False)

    def to(self, count: int) -> None:
        """Tell that so many are done."""
        if sys.stderr.isatty():
            typer.echo(f"\r\033[K{count:,} {self._unit}", err=True, nl=False)
            self._said = count
        elif count // _SAY_EVERY > self._said // _SAY_EVERY:
            typer.echo(f"{count:,} {self._unit}", err=True)
            self._said = count


def _form_of(file: Path) -> Format:
    return Format.CSV if file.suffix.lower() == ".csv" else Format.JSONL


@contextmanager
def _opened_to_read(file: Path) -> Iterator[IO[str]]:
    if str(file) == _STREAM:
        yield sys.stdin
        return
    try:
        opened = file.open(encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    with opened:
        yield opened


@contextmanager
def _opened_to_write(file: Path | None) -> Iterator[IO[str] | None]:
    if file is None:
        yield None
        return
    if str(file) == _STREAM:
        yield sys.stdout
        return
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise AlreadyThere(f"{file} exists") from None
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as opened:
        yield opened
