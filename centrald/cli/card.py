"""`centrald card`: the registry of issued cards."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from centrald import registry
from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, show_one, transact
from centrald.errors import AlreadyThere, ConfigError
from centrald.storage.ledger import Entry, Event
from centrald.storage.transaction import Transaction

app = typer.Typer(help="The registry of issued cards.", no_args_is_help=True)


@app.command()
def register(
    entry: Annotated[
        Path, typer.Argument(help="One JSON object, or one a line, as issuance wrote it; - is standard input.")
    ],
    directory: Directory = DEFAULT_DIRECTORY,
    replace_: Annotated[bool, typer.Option("--replace", help="Replace entries of the same user certificate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register cards, all of them or none.

    An entry that is there with the same content is no mistake; with other content it needs --replace.
    """
    try:
        text = sys.stdin.read() if str(entry) == "-" else entry.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{entry}: {error}") from error
    cards = registry.parse(text)

    async def work(tx: Transaction) -> int:
        changed = 0
        for card in cards:
            known = await tx.card(card.certificate)
            if known is not None:
                card = replace(card, user_revoked=known.user_revoked, signing_revoked=known.signing_revoked)
            if known == card:
                continue
            if known is not None and not replace_:
                raise AlreadyThere(f"certificate {card.certificate.serial} is registered with other content")
            await tx.save_card(card, new=known is None)
            await tx.append(Entry(Event.CARD_REGISTERED, tx.now))
            changed += 1
        return changed

    changed = transact(directory, work)
    show_one({"registered": changed, "unchanged": len(cards) - changed}, as_json=as_json)
