"""What a citizen's card proves: a trusted certificate, its signature, and a registry entry in good standing."""

from __future__ import annotations

import datetime
import hashlib

from centrald.certificates import UserAuthority, UserCertificate
from centrald.rules.attempt import Proof
from centrald.rules.model import CardEntry, Procedure, Refusal
from centrald.storage.transaction import Transaction


def digest(*parts: bytes) -> bytes:
    """Return a digest (32 bytes) of a request's content, each part counted."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


def standing(card: CardEntry | None, procedure: Procedure, now: datetime.datetime) -> Refusal | None:
    """Return why a card of the registry may not be reset."""
    if card is None or procedure not in card.key_versions:
        return Refusal.CARD_NOT_REGISTERED
    if card.user_revoked or card.signing_revoked:
        return Refusal.CERTIFICATE_REVOKED
    if not card.signing_not_before <= now <= card.signing_not_after:  # RFC 5280 4.1.2.5: both inclusive
        return Refusal.CERTIFICATE_EXPIRED
    return None


async def prove(
    tx: Transaction,
    authority: UserAuthority,
    procedure: Procedure,
    signed: bytes,
    certificate: bytes,
    signature: bytes,
) -> Proof:
    """Judge certificate (DER), signature (256 bytes) over `signed`, and registry entry, in this order."""
    content = digest(certificate, signature)
    judged = authority.judge(certificate, tx.now)
    if not isinstance(judged, UserCertificate):
        return Proof(content, judged)
    if not judged.signed(signed, signature):
        return Proof(content, Refusal.SIGNATURE_INVALID)
    card = await tx.card(judged.id)
    return Proof(content, standing(card, procedure, tx.now), card)
