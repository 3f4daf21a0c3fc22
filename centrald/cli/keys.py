"""`centrald keys`: the master keys that cards' keys are derived from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, note_in_ledger, show, show_one, transact
from centrald.clock import SystemClock
from centrald.errors import AlreadyThere

if TYPE_CHECKING:
    from centrald.masterkeys import Generation
    from centrald.storage.transaction import Transaction

app = typer.Typer(help="Master keys of the cards: list, add.", no_args_is_help=True)


def _version(text: str) -> int:
    try:
        version = int(text, 0)
    except ValueError:
        version = 0
    if not 1 <= version <= 127:
        raise typer.BadParameter("a key version is 1 to 127, as 50 or 0x32")
    return version


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List the master keys, the key versions each one made, and how many cards of the registry have these.

    The check value tells keys apart and says nothing about them. Every key is opened for it, so this also tests that
    files are closed to others and tokens answer.
    """
    from centrald.config import load
    from centrald.masterkeys import LAST_VERSION, KeyRing

    keys = load(directory).keys
    counts = _cards_by_version(directory)
    ring = KeyRing.open(directory, keys.master, keys.ring)
    try:
        ends = [one.generation.from_version - 1 for one in ring.live[1:]] + [LAST_VERSION]
        rows = [
            {
                "from_version": live.generation.from_version,
                "to_version": end,
                "place": live.generation.place,
                "check_value": live.check_value,
                "added_at": live.generation.added_at,
                "cards": sum(n for version, n in counts.items() if live.generation.from_version <= version <= end),
            }
            for live, end in zip(ring.live, ends, strict=True)
        ]
    finally:
        ring.close()
    show(rows, as_json=as_json, title="Master keys")


@app.command()
def add(
    from_version: Annotated[
        int, typer.Option(parser=_version, metavar="VERSION", help="The first key version it makes, 1 to 127.")
    ],
    directory: Directory = DEFAULT_DIRECTORY,
    file: Annotated[
        str | None, typer.Option(help="A key file, relative to the directory; with --generate a new one is made.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Label of a PKCS #11 token that holds the key.")] = None,
    key: Annotated[str | None, typer.Option(help="Label of the key in the token.")] = None,
    module: Annotated[str, typer.Option(help="The token's PKCS #11 library.")] = "/usr/lib/softhsm/libsofthsm2.so",
    pin: Annotated[
        str, typer.Option(help="File with the token's PIN, relative to the directory, mode 0600.")
    ] = "keys/token.pin",
    generate: Annotated[bool, typer.Option("--generate", help="Make the key first; in a token it never leaves it.")] = (
        False
    ),
    as_json: AsJson = False,
) -> None:
    """Add a master key for cards to come: those issued with this key version or a higher one.

    Cards that are there go on with the key they were issued with. Refused when the registry knows a card of such a
    version, for its keys would be lost. Restart the services one after the other, then issue cards with the version.
    """
    from centrald import masterkeys
    from centrald.config import load

    keys = load(directory).keys
    new = _generation(from_version, file, (module, token, key, pin))
    taken = sorted(version for version in _cards_by_version(directory) if version >= from_version)
    if taken:
        raise AlreadyThere(f"the registry knows cards of key version {taken[0]}, made by another master key")
    masterkeys.refuse_unless_next(directory, keys.master, keys.ring, from_version)
    if generate:
        masterkeys.generate(directory, new)
    added = masterkeys.add(directory, keys.master, keys.ring, new)
    note_in_ledger(directory, "KEYS_ADDED", f"from version {added.from_version}, check value {added.check_value}")
    row: dict[str, Any] = {
        "from_version": added.from_version,
        "place": added.place,
        "check_value": added.check_value,
        "ring": str(directory / keys.ring),
    }
    show_one(row, as_json=as_json)


def _generation(from_version: int, file: str | None, place: tuple[str, str | None, str | None, str]) -> Generation:
    from centrald.masterkeys import Generation, TokenPlace

    module, token, key, pin = place
    if (file is None) == (token is None) or (token is None) != (key is None):
        raise typer.BadParameter("either --file, or --token and --key")
    now = SystemClock().now().replace(microsecond=0)
    if token is None or key is None:
        return Generation(from_version, file=file, added_at=now)
    return Generation(from_version, token=TokenPlace(module, token, key, pin), added_at=now)


def _cards_by_version(directory: Path) -> dict[int, int]:
    from centrald.rules.model import Procedure
    from centrald.storage.registry import Registry

    async def work(tx: Transaction) -> dict[int, int]:
        return await Registry(tx).by_key_version(Procedure.SIGNING_PASSWORD)

    return transact(directory, work)
