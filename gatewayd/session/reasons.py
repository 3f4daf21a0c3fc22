"""What a citizen is told of the centre's no, and every way an attempt can end as metrics tell it."""

from __future__ import annotations

from collections.abc import Iterable

from gatewayd.central.port import Refusal
from gatewayd.dialogue.vocabulary import Reason
from gatewayd.metrics import NO_REASON

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


def _words(reasons: Iterable[Reason]) -> tuple[str, ...]:
    return tuple(reason.name.lower() for reason in reasons)


# Why an attempt is not even admitted: all that `Manager` answers without a lease.
LEASE_REFUSALS = _words((Reason.BUSY, Reason.CARD_LEFT_BEHIND, Reason.DRAINING, Reason.JOURNAL_UNAVAILABLE))
# Outcome and reason of every attempt that was admitted.
ENDINGS = (
    ("done", NO_REASON),
    *(("unknown", word) for word in _words((Reason.OUTCOME_UNRESOLVED, Reason.RESTARTED))),
    *(
        ("not_done", word)
        for word in _words(set(Reason) - {Reason.OUTCOME_UNRESOLVED, Reason.BUSY, Reason.CARD_LEFT_BEHIND})
    ),
)
