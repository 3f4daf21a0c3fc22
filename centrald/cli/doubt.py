"""`centrald doubts`: what people have to look after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from centrald.cli.common import DEFAULT_DIRECTORY, AsJson, Directory, Limit, plain, show
from centrald.rules.model import DOUBTFUL, KioskId, Reservation, Write, WriteStatus
from centrald.storage.ledger import Entry

if TYPE_CHECKING:
    from centrald.storage.transaction import Transaction

_TO_DO = {
    WriteStatus.OPEN: (
        "The kiosk has not said what became of this write. Bring it back online: it reports by itself. "
        "If it is lost for good, only the card knows; see the last line."
    ),
    WriteStatus.UNKNOWN: (
        "The card left before it answered, and the kiosk cannot know. Nothing is to be mended; see the last line."
    ),
    WriteStatus.UNPROVEN: (
        "The kiosk says done, and the card's receipt does not verify. Find out why before anything else: wrong key "
        "version in the registry, or a kiosk that is not in order. Disable the kiosk until that is known."
    ),
}
_CONTRADICTION = (
    "This report fits neither the order of reports nor what is known, and changed nothing. Compare the attempt in "
    "`centrald ledger show --attempt` with the kiosk's own `gatewayctl attempts`. A kiosk that was "
    "restored from a backup does this."
)
_LAST_LINE = (
    "A doubt ends by itself: when the kiosk reports, or when the citizen resets the same card again, at any kiosk, "
    "which also proves that it has the new password. A citizen who asks: try the new password; if it is refused, "
    "make a new reservation and reset again. Never tell that it is done, or that it is not."
)


def doubts(directory: Directory = DEFAULT_DIRECTORY, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List what is in doubt, the oldest first, and what to do about it.

    Two kinds: writes nobody knows the outcome of, and reports that contradict what is known.
    """
    from centrald.cli.common import transact

    async def work(tx: Transaction) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = await tx.overview.doubts(limit)
        writes = [(one, write) for one in found for write in one.writes if write.status in DOUBTFUL]
        kiosks = await tx.overview.kiosks_of(write.attempt_id for _, write in writes)
        contradictions = await tx.entries(limit, contradictions=True)
        return (
            [_doubt(one, write, kiosks.get(write.attempt_id)) for one, write in writes],
            [_contradiction(entry) for entry in contradictions],
        )

    writes, contradictions = transact(directory, work)
    if as_json:
        show([*writes, *contradictions], as_json=True, title="Doubts")
        return
    for kind, rows in (("Writes in doubt", writes), ("Contradicting reports", contradictions)):
        hidden = ("kind", "what_to_do")
        show([{k: v for k, v in row.items() if k not in hidden} for row in rows], as_json=False, title=kind)
        for status, text in {row["status"]: row["what_to_do"] for row in rows}.items():
            typer.echo(f"{plain(status)}: {text}\n")
    if writes:
        typer.echo(_LAST_LINE)


def _doubt(reservation: Reservation, write: Write, kiosk: KioskId | None) -> dict[str, Any]:
    return {
        "kind": "doubt",
        "since": write.at,
        "status": write.status,
        "kiosk": kiosk and str(kiosk),
        "attempt_id": write.attempt_id,
        "n": write.n,
        "reservation_id": reservation.id,
        "reservation_expires_at": reservation.expires_at,
        "what_to_do": _TO_DO[write.status],
    }


def _contradiction(entry: Entry) -> dict[str, Any]:
    return {
        "kind": "contradiction",
        "since": entry.at,
        "status": "contradiction",
        "reported": entry.outcome,
        "verdict": entry.verdict,
        "kiosk": entry.kiosk,
        "attempt_id": entry.attempt_id,
        "n": entry.n,
        "reservation_id": entry.reservation_id,
        "state": entry.state_after,
        "ledger_entry": entry.seq,
        "what_to_do": _CONTRADICTION,
    }
