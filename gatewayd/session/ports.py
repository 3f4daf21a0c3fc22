"""Everything outside that an attempt works with, in one hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from gatewayd.central.port import CentralPort
from gatewayd.clock import Clock
from gatewayd.journal.port import JournalPort
from gatewayd.metrics import Metrics
from gatewayd.reader.port import ReaderPort
from gatewayd.session.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Ports:
    """The collaborators of the session layer. `spawn` starts work that outlives its caller, under supervision."""

    reader: ReaderPort
    central: CentralPort
    journal: JournalPort
    outbox: Outbox
    metrics: Metrics
    clock: Clock
    spawn: Callable[[Coroutine[None, None, None]], object]
