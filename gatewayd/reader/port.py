"""What the session needs of a reader. `thread.py` is the real one; the tests have one fake, under the same contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

T = TypeVar("T")


class Link(Protocol):
    """What a job sees of a connected card. Lives on the reader's owner thread, only while the job runs."""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return the answer, status word included: 2-65,538 bytes.

        Raises DeadlineExceeded or LinkEnded when nothing was sent: the job's budget is over, it is no longer wanted, or
        an earlier command failed. Raises TransmitFailed or ServiceLost when no usable answer came: the card may have
        executed the command.
        """
        ...

    def reset(self) -> None:
        """Reset the card: every security state is gone, the connection stays exclusive. Raises LinkError."""
        ...


Job = Callable[[Link], T]


class ReaderProblem(Enum):
    """Why the reader cannot be used now; clears by itself."""

    PCSC_UNAVAILABLE = "pcsc_unavailable"
    READER_UNAVAILABLE = "reader_unavailable"
    READER_STUCK = "reader_stuck"


@dataclass(frozen=True, slots=True)
class ReaderState:
    """What the presence watch last saw."""

    problem: ReaderProblem | None
    name: str  # PC/SC name; empty when there is none
    card_present: bool
    insertions: int  # grows with every insertion ever seen, quick swaps included


class Connection(Protocol):
    """One generation of exclusive ownership of the card: nothing until the first job, void after the first error.

    Ends by card reset and disconnect, on the owner thread, before the awaiting coroutine goes on. What arrives late for
    a connection that ended is dropped.
    """

    async def run(
        self,
        job: Job[T],
        *,
        budget_s: float,
        last: bool = False,
        late: Callable[[T], None] | None = None,
    ) -> T:
        """Run the job on the owner thread in one hop, connecting first if need be, and return its value.

        With `last` the connection ends after the job. Raises LinkError (the connection has ended then) or whatever the
        job raised (ended as well). When the awaiting task is cancelled, the job sends no further APDU and the
        connection ends as soon as the running one returns. When `budget_s` is over, or one APDU has run for 10 s,
        DeadlineExceeded is raised at once and the thread is left to the late answer. A job of an awaiting task that has
        gone on in either way still runs to its end: if it returns a value after all, `late` is called with it, once, on
        the loop; otherwise the value is dropped.

        TransmitFailed of a card that was lifted comes after `ReaderState` has told of the lift.
        After TransmitFailed from the card the reader wants to see that card lifted: until then a new connection's
        first job raises CardAbsent, although `ReaderState.card_present` is true, after at most 1 s.
        """
        ...

    async def close(self) -> None:
        """End the connection: card reset, disconnect. Harmless when it has ended; never raises LinkError."""
        ...


class ReaderPort(Protocol):
    """The kiosk's reader."""

    @property
    def state(self) -> ReaderState:
        """What the presence watch last saw."""
        ...

    async def changed(self, since: ReaderState) -> ReaderState:
        """Return the state as soon as it differs from `since`; at once if it does already."""
        ...

    @property
    def stuck_for_s(self) -> float:
        """For how long a job has been past its deadline, or the watch silent, in seconds; 0 while both move."""
        ...

    def connection(self) -> Connection:
        """Return a new generation; the card is connected by its first job."""
        ...
