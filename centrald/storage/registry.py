"""The registry of cards in bulk: what import, export and key rotation ask of the database."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from centrald.rules.model import CardEntry, CertificateId, Procedure
from centrald.storage import rows, schema
from centrald.storage.lean import Link
from centrald.storage.transaction import Transaction

_ID = ("authority_key_id", "serial")


@dataclass(slots=True)
class Taken:
    """What became of the entries of one import."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0


class Registry:
    """The cards within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._connection: Link = tx._connection

    async def take(self, cards: list[CardEntry], *, replacing: bool) -> tuple[Taken, list[int]]:
        """Insert entries that are new, replace those with other content if told to.

        Returns what was done, and the positions of those that are there with other content. What is revoked stays so.
        Entries are locked and inserted in the order of their certificates, so that no two wait for each other.
        """
        known = await self._known([card.certificate for card in cards])
        taken, refused = Taken(), []
        new: dict[CertificateId, CardEntry] = {}
        changed: dict[CertificateId, CardEntry] = {}
        for at, card in enumerate(cards):
            before = new.get(card.certificate) or changed.get(card.certificate) or known.get(card.certificate)
            if before is None:
                new[card.certificate] = card
                taken.added += 1
                continue
            card = replace(
                card,
                user_revoked=card.user_revoked or before.user_revoked,
                signing_revoked=card.signing_revoked or before.signing_revoked,
            )
            if card == before:
                taken.unchanged += 1
            elif not replacing:
                refused.append(at)
            else:
                (new if card.certificate in new else changed)[card.certificate] = card
                taken.replaced += 1
        await self._write(list(new.values()), list(changed.values()))
        return taken, refused

    async def _write(self, new: list[CardEntry], changed: list[CardEntry]) -> None:
        table = schema.card
        if new:
            await self._connection.execute(
                sa.insert(table), [rows.card_values(card) for card in sorted(new, key=_place)]
            )
        for card in changed:
            mine = [table.c[name] == value for name, value in rows.certificate_values(card.certificate).items()]
            await self._connection.execute(sa.update(table).where(*mine).values(rows.card_values(card)))

    async def _known(self, certificates: list[CertificateId]) -> dict[CertificateId, CardEntry]:
        table = schema.card
        named = sa.tuple_(*(table.c[name] for name in _ID))
        wanted = [(one.authority_key_id, one.serial) for one in certificates]
        query = sa.select(table).where(named.in_(wanted)).order_by(*(table.c[name] for name in _ID))
        found = await self._connection.execute(query.with_for_update())
        cards = [rows.card_of(row) for row in found.mappings()]
        return {card.certificate: card for card in cards}

    async def revoke(self, serial: str, *, user: bool) -> int:
        """Mark the user certificate, or the signing certificate, of the cards with this user serial number as revoked.

        Returns how many there are. Nothing else of an entry is written, so two that revoke at once both count.
        """
        table = schema.card
        revoked = table.c.user_revoked if user else table.c.signing_revoked
        statement = sa.update(table).where(table.c.serial == serial).values({revoked: True}).returning(table.c.serial)
        return len((await self._connection.execute(statement)).all())

    async def page(self, after: CertificateId | None, limit: int) -> list[CardEntry]:
        """Return the next entries in the order of their certificates."""
        table = schema.card
        columns = [table.c[name] for name in _ID]
        query = sa.select(table).order_by(*columns).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(*columns) > sa.tuple_(after.authority_key_id, after.serial))
        return [rows.card_of(row) for row in (await self._connection.execute(query)).mappings()]

    async def count(self) -> int:
        """Return how many cards there are."""
        return int((await self._connection.execute(sa.select(sa.func.count()).select_from(schema.card))).scalar_one())

    async def by_key_version(self, procedure: Procedure) -> dict[int, int]:
        """Return how many cards have each key version."""
        version = schema.card.c.key_versions[procedure.name.lower()].as_integer()
        query = sa.select(version, sa.func.count()).group_by(version)
        return {int(key): int(count) for key, count in (await self._connection.execute(query)).all() if key is not None}


def _place(card: CardEntry) -> tuple[str, str]:
    """Return where an entry comes in the order of certificates."""
    return card.certificate.authority_key_id, card.certificate.serial
