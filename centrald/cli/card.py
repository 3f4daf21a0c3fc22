"""`centrald card`: the registry of issued cards."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Limit, show, show_one, transact
from centrald.errors import AlreadyThere, ConfigError, NotThere
from centrald.storage.ledger import Entry, Event

if TYPE_CHECKING:
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

    An entry that is there with the same content is no mistake; with other content it needs --replace. What is revoked
    stays so.
    """
    from centrald import registry

    try:
        text = sys.stdin.read() if str(entry) == "-" else entry.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{entry}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{entry}: {error}") from error
    cards = registry.parse(text)

    async def work(tx: Transaction) -> int:
        changed = 0
        for card in cards:
            known = await tx.card(card.certificate)
            if known is not None:
                card = replace(
                    card,
                    user_revoked=card.user_revoked or known.user_revoked,
                    signing_revoked=card.signing_revoked or known.signing_revoked,
                )
            if known == card:
                continue
            if known is not None and not replace_:
                raise AlreadyThere(f"certificate {card.certificate.serial} is registered with other content")
            await tx.save_card(card, new=known is None)
            tx.append(Entry(Event.CARD_REGISTERED, tx.now))
            changed += 1
        return changed

    changed = transact(directory, work)
    show_one({"registered": changed, "unchanged": len(cards) - changed}, as_json=as_json)


class Certificate(Enum):
    """Which of a card's two certificates."""

    USER = "user"
    SIGNING = "signing"


@app.command()
def revoke(
    serial: Annotated[str, typer.Argument(help="Serial number of the card's user certificate, hexadecimal.")],
    certificate: Annotated[Certificate, typer.Option(help="Which certificate is revoked.")] = Certificate.SIGNING,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Mark a card's certificate as revoked: no reservation and no reset from now on. There is no way back."""
    from centrald import registry

    async def work(tx: Transaction) -> None:
        from centrald.storage.registry import Registry

        found = await Registry(tx).revoke(registry.serial(serial), user=certificate is Certificate.USER)
        if not found:
            raise NotThere(f"no card with user certificate {serial}")
        for _ in range(found):
            tx.append(Entry(Event.CARD_REVOKED, tx.now))

    transact(directory, work)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List registered cards."""
    cards = transact(directory, lambda tx: tx.cards(limit=limit))
    shown = (
        {
            "user_certificate_serial": card.certificate.serial,
            "signing_certificate_serial": card.signing_certificate_serial,
            "signing_not_before": card.signing_not_before,
            "signing_not_after": card.signing_not_after,
            "user_revoked": card.user_revoked,
            "signing_revoked": card.signing_revoked,
        }
        for card in cards
    )
    show(shown, as_json=as_json, title="Cards")
