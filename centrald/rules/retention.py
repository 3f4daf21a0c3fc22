"""What may be forgotten: reservations that are over, whose attempts can bring no news any more."""

from __future__ import annotations

import datetime

from centrald.rules.model import Reservation, State
from centrald.rules.reservation import state_of

KEEP = datetime.timedelta(days=90)  # by default
SHORTEST = datetime.timedelta(days=7)  # a kiosk that was away brings its reports in the end
OVER = frozenset({State.USED, State.RESERVED, State.REPLACED})  # RESERVED: it expired unused


def forgettable(reservation: Reservation, now: datetime.datetime, keep: datetime.timedelta) -> bool:
    """Tell whether the reservation was over so long ago; one in doubt or closed as unknown is for people, and stays."""
    return state_of(reservation, now) in OVER and now >= reservation.expires_at + keep
