"""How often somebody may: token buckets for what anyone may ask, and growing pauses after what should not happen.

Both are kept in memory, for a bounded number of names, by one process: what is least recently used is forgotten first.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

_NOTHING = datetime.timedelta(0)

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and one more each time `every` has passed."""

    burst: int
    every: datetime.timedelta


class Buckets(Generic[_K]):
    """One token bucket for each name; a name that was forgotten has a full one."""

    def __init__(self, rate: Rate, names: int) -> None:
        self._rate = rate
        self._names = names
        self._full_at: OrderedDict[_K, datetime.datetime] = OrderedDict()  # when nothing will be missing any more

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: _K, now: datetime.datetime) -> datetime.timedelta | None:
        """Take one token; returns None, or how long until there is one (and takes nothing)."""
        full_at = min(max(self._full_at.get(name, now), now), now + self._rate.burst * self._rate.every)  # clocks jump
        wait = full_at - now - (self._rate.burst - 1) * self._rate.every
        if wait > _NOTHING:
            return wait
        self._full_at[name] = full_at + self._rate.every
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._names:
            self._full_at.popitem(last=False)
        return None


@dataclass(frozen=True, slots=True)
class Patience:
    """What is borne before there are pauses: `free` times, then `first`, doubled each time, at most `longest`."""

    free: int
    first: datetime.timedelta
    longest: datetime.timedelta
    forget: datetime.timedelta  # one time is forgotten each time this has passed


@dataclass(frozen=True, slots=True)
class _Strikes:
    count: int
    last: datetime.datetime


class Pauses(Generic[_K]):
    """Counts what went wrong, by name, and says how long to wait because of it."""

    def __init__(self, patience: Patience, names: int) -> None:
        self._patience = patience
        self._names = names
        self._strikes: OrderedDict[_K, _Strikes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strikes)

    def wait(self, name: _K, now: datetime.datetime) -> datetime.timedelta | None:
        """Return how long this name must still wait; None when it need not."""
        strikes = self._strikes.get(name)
        if strikes is None:
            return None
        left = min(strikes.last, now) + self._pause(self._left_of(strikes, now)) - now
        return left if left > _NOTHING else None

    def wrong(self, name: _K, now: datetime.datetime) -> int:
        """Count one; returns how many there are now. From more than `free` on, there are pauses."""
        strikes = self._strikes.get(name)
        count = 1 + (self._left_of(strikes, now) if strikes else 0)
        self._strikes[name] = _Strikes(count, now)
        self._strikes.move_to_end(name)
        if len(self._strikes) > self._names:
            self._strikes.popitem(last=False)
        return count

    def right(self, name: _K) -> None:
        """Forget everything about this name."""
        self._strikes.pop(name, None)

    def paused(self, now: datetime.datetime) -> int:
        """Return how many names have to wait."""
        return sum(self.wait(name, now) is not None for name in self._strikes)

    def _left_of(self, strikes: _Strikes, now: datetime.datetime) -> int:
        return max(0, strikes.count - max(now - strikes.last, _NOTHING) // self._patience.forget)

    def _pause(self, count: int) -> datetime.timedelta:
        over = count - self._patience.free
        if over <= 0:
            return _NOTHING
        doublings = min(over - 1, 40)  # beyond that every pause is the longest
        return min(self._patience.first * int(2**doublings), self._patience.longest)
