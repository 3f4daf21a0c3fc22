"""What a citizen's card proves: a trusted certificate, its signature, and a registry entry in good standing."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from centrald.certificates import UserAuthority, UserCertificate
from centrald.revocation import Revocations
from centrald.rules.attempt import Proof
from centrald.rules.model import CardEntry, Fault, Procedure, Refusal
from centrald.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are accepted, and which of them are revoked."""

    users: UserAuthority
    revocations: Revocations

    def standing(self, card: CardEntry | None, procedure: Procedure, now: datetime.datetime) -> Refusal | Fault | None:
        """Return why a card of the registry may not be reset."""
        if card is None or procedure not in card.key_versions:
            return Refusal.CARD_NOT_REGISTERED
        certificate = card.certificate
        if card.user_revoked or self.revocations.user_revoked(certificate.authority_key_id, certificate.serial):
            return Fault.REVOKED
        signing = (card.signing_authority_key_id, card.signing_certificate_serial)
        if card.signing_revoked or self.revocations.signing_revoked(*signing):
            return Fault.SIGNING_REVOKED
        # RFC 5280 4.1.2.5: both ends included
        if now < card.signing_not_before:
            return Fault.SIGNING_NOT_YET_VALID
        return Fault.SIGNING_EXPIRED if now > card.signing_not_after else None


def refusal_of(why: Refusal | Fault | None) -> Refusal | None:
    """Return what the kiosk is told."""
    return why.refusal if isinstance(why, Fault) else why


def digest(*parts: bytes) -> bytes:
    """Return a digest (32 bytes) of a request's content, each part counted."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


async def prove(
    tx: Transaction,
    trust: Trust,
    procedure: Procedure,
    signed: bytes,
    certificate: bytes,
    signature: bytes,
) -> Proof:
    """Judge certificate (DER), signature (256 bytes) over `signed`, and registry entry, in this order."""
    content = digest(certificate, signature)
    judged = trust.users.judge(certificate, tx.now)
    if not isinstance(judged, UserCertificate):
        return Proof(content, judged.refusal, fault=judged)
    if not judged.signed(signed, signature):
        return Proof(content, Refusal.SIGNATURE_INVALID)
    card = await tx.card(judged.id)
    why = trust.standing(card, procedure, tx.now)
    return Proof(content, refusal_of(why), card, why if isinstance(why, Fault) else None)
