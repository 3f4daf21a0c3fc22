"""What a citizen is told of the centre's no."""

from __future__ import annotations

from gatewayd.central.port import Refusal
from gatewayd.dialogue.vocabulary import Reason

# The rest is told as it is named.
_REASONS = {
    Refusal.CERTIFICATE_NOT_TRUSTED: Reason.CARD_NOT_GENUINE,
    Refusal.SIGNATURE_INVALID: Reason.CARD_NOT_GENUINE,
    Refusal.ATTEMPT_EXPIRED: Reason.TIMED_OUT,
    Refusal.SUPERSEDED: Reason.CANCELLED,
}


def reason_of(refusal: Refusal) -> Reason:
    """Return the reason for a refusal of the centre."""
    return _REASONS.get(refusal) or Reason[refusal.name]
