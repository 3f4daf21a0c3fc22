"""`centrald chain` and `centrald store`: who may take part, above the single kiosk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show, transact
from centrald.kioskname import ID_PATTERN
from centrald.storage.ledger import Entry, Event

if TYPE_CHECKING:
    from centrald.storage.transaction import Transaction

_ABOUT = "They come with `centrald kiosk add`; a kiosk takes part when its chain, its store and itself are all enabled."

chains = typer.Typer(help=f"Chains: list, enable, disable.\n\n{_ABOUT}", no_args_is_help=True)
stores = typer.Typer(help=f"Stores: list, enable, disable.\n\n{_ABOUT}", no_args_is_help=True)


def checked_id(text: str) -> str:
    """Return an id of a chain, store or kiosk; raises BadParameter for what is none."""
    if not ID_PATTERN.fullmatch(text):
        raise typer.BadParameter("1 to 32 of a-z, 0-9 and -")
    return text


def checked_path(text: str, form: str) -> str:
    """Return ids joined as the form (CHAIN/STORE, …) has them; raises BadParameter for what is none."""
    parts = text.split("/")
    if len(parts) != len(form.split("/")):
        raise typer.BadParameter(form)
    for part in parts:
        checked_id(part)
    return text


_STORE = "CHAIN/STORE"
_Chain = Annotated[str, typer.Argument(callback=checked_id)]
_Store = Annotated[str, typer.Argument(callback=lambda text: checked_path(text, _STORE), metavar=_STORE)]


def switch(path: str, directory: Path, *, enabled: bool) -> None:
    """Enable or disable what the path names; raises NotThere."""

    async def work(tx: Transaction) -> None:
        await tx.fleet.enable(tuple(path.split("/")), enabled=enabled)
        event = Event.KIOSK_ENABLED if enabled else Event.KIOSK_DISABLED
        tx.append(Entry(event, tx.now, kiosk=path))

    transact(directory, work)


@chains.command("list")
def list_chains(directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List the chains, and how many of their stores and kiosks take part."""
    show(transact(directory, lambda tx: tx.fleet.chains()), as_json=as_json, title="Chains")


@chains.command("enable")
def enable_chain(chain: _Chain, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Enable a chain; works at once. Its stores and kiosks that are disabled themselves stay so."""
    switch(chain, directory, enabled=True)


@chains.command("disable")
def disable_chain(chain: _Chain, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Disable a chain with all its kiosks; works at once. Their reports and releases are still taken."""
    switch(chain, directory, enabled=False)


@stores.command("list")
def list_stores(
    chain: Annotated[str | None, typer.Argument(help="Only this chain's.")] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the stores, and how many of their kiosks take part."""
    show(transact(directory, lambda tx: tx.fleet.stores(chain)), as_json=as_json, title="Stores")


@stores.command("enable")
def enable_store(store: _Store, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Enable a store; works at once. Its kiosks that are disabled themselves stay so."""
    switch(store, directory, enabled=True)


@stores.command("disable")
def disable_store(store: _Store, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Disable a store with all its kiosks; works at once. Their reports and releases are still taken."""
    switch(store, directory, enabled=False)
