"""`centrald kiosk`: who may take part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show, show_one, transact
from centrald.cli.fleet import checked_id, checked_path, switch
from centrald.clock import SystemClock
from centrald.errors import AlreadyThere, NotThere
from centrald.files import write_new
from centrald.kioskname import uri_of
from centrald.rules.model import KioskId
from centrald.storage.ledger import Entry, Event

if TYPE_CHECKING:
    from centrald.storage.transaction import Transaction

app = typer.Typer(help="Kiosks: add, renew, list, enable, disable.", no_args_is_help=True)


_KIOSK = "CHAIN/STORE/KIOSK"
_Id = Annotated[str, typer.Argument(callback=checked_id)]
_Path = Annotated[str, typer.Argument(callback=lambda text: checked_path(text, _KIOSK), metavar=_KIOSK)]
_Out = Annotated[Path, typer.Option(help="Where kiosk.pem, kiosk.key and server-ca.pem are written; new files only.")]


@app.command()
def add(
    chain: _Id, store: _Id, kiosk: _Id, out: _Out, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """Add a kiosk, enabled at once, and write its client certificate.

    Its chain and store are added with it when they are new; when they are known, they stay enabled or disabled.
    """
    name = KioskId(chain, store, kiosk)

    async def work(tx: Transaction) -> dict[str, Any]:
        await tx.fleet.add(name)
        tx.append(Entry(Event.KIOSK_ADDED, tx.now, kiosk=str(name)))
        return _write_certificate(directory, name, out)  # before the commit: what cannot be written is not added

    show_one(transact(directory, work), as_json=as_json)


@app.command()
def renew(
    chain: _Id, store: _Id, kiosk: _Id, out: _Out, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """Write another client certificate, with a new key, for a kiosk that is known. Earlier ones stay valid."""
    name = KioskId(chain, store, kiosk)

    async def work(tx: Transaction) -> dict[str, Any]:
        if not await tx.fleet.kiosks(name):
            raise NotThere(f"kiosk {name} is not known")
        tx.append(Entry(Event.KIOSK_RENEWED, tx.now, kiosk=str(name)))
        return _write_certificate(directory, name, out)

    show_one(transact(directory, work), as_json=as_json)


def _write_certificate(directory: Path, name: KioskId, out: Path) -> dict[str, Any]:
    from centrald import pki
    from centrald.initialize import KIOSK_AUTHORITY, SERVER_AUTHORITY

    files = {part: out / part for part in ("kiosk.pem", "kiosk.key", "server-ca.pem")}
    for path in files.values():
        if path.exists():
            raise AlreadyThere(f"{path} exists")
    authority = pki.load(*(directory / part for part in KIOSK_AUTHORITY))
    issued = pki.kiosk_certificate(authority, uri_of(name), str(name), SystemClock().now())
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    issued.write(files["kiosk.pem"], files["kiosk.key"])
    write_new(files["server-ca.pem"], (directory / SERVER_AUTHORITY).read_bytes(), mode=0o644)
    return {
        "kiosk": str(name),
        "uri": uri_of(name),
        "directory": str(out),
        "expires_at": issued.certificate.not_valid_after_utc,
    }


@app.command("list")
def list_(
    within: Annotated[
        str | None, typer.Argument(metavar="[CHAIN[/STORE]]", help="Only this chain's or store's.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the kiosks, and what is enabled."""
    chain, _, store = (within or "").partition("/")
    rows = transact(directory, lambda tx: tx.fleet.kiosks(chain=chain or None, store=store or None))
    shown = (
        {
            "kiosk": str(row.id),
            "enabled": row.enabled,
            "chain_enabled": row.chain_enabled,
            "store_enabled": row.store_enabled,
            "kiosk_enabled": row.kiosk_enabled,
            "added_at": row.added_at,
        }
        for row in rows
    )
    show(shown, as_json=as_json, title="Kiosks")


@app.command()
def enable(kiosk: _Path, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Enable a kiosk; works at once, unless its chain or store is disabled."""
    switch(kiosk, directory, enabled=True)


@app.command()
def disable(kiosk: _Path, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Disable a kiosk; works at once. Its reports and releases are still taken."""
    switch(kiosk, directory, enabled=False)
