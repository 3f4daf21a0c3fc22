"""Log lines: one JSON object a line on standard error, with the attempt's id in each line that belongs to one.

Screen and centre write lines of this form with formatters of their own (`jpki_kiosk.logs`, `centrald.logs`): programs
that meet over a socket alone share no code for thirty lines. One test holds all three to the same rules.
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import json
import logging
import logging.handlers
import queue
import sys
import threading
from typing import Any

attempt_id: contextvars.ContextVar[str] = contextvars.ContextVar("attempt_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
GATHER_S = 0.1  # longer than the machine works between two inputs, if the card is quick
_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # sd-daemon(3), as in syslog(3)


class JsonFormatter(logging.Formatter):
    """One record as one line; `extra` fields become keys. Exceptions show types and places, never their values."""

    def __init__(self, *, priority: bool) -> None:
        super().__init__()
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = _places(record.exc_info[1])
        text = json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)
        return f"<{_PRIORITY[record.levelname]}>{text}" if self._priority else text


def _places(error: BaseException | None) -> list[str]:
    """Types and places of an exception and its causes: an exception's text may hold what must not be logged."""
    places = []
    while error is not None:
        trace, where = error.__traceback__, ""
        while trace is not None:
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        places.append(f"{type(error).__name__} at {where}")
        error = error.__cause__ or error.__context__
    return places


def tell_loop_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaited, in place of the loop's own handler, which shows an exception's text."""
    logging.getLogger("asyncio").error(context["message"], exc_info=context.get("exception"))


class _AttemptFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if attempt := attempt_id.get():
            record.attempt_id = attempt
        return True


def set_up(level: str, *, journald: bool) -> logging.handlers.QueueListener:
    """Send the root logger's records to standard error through a queue, so that a slow journal never blocks the loop.

    Returns the started listener; `stop` it last, to flush. `journald` prefixes each line with its priority.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonFormatter(priority=journald))
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = _Handler(records)
    handler.addFilter(_AttemptFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    listener = Listener(records, stream)
    listener.start()
    return listener


class _Handler(logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Hand the record over as it is: formatting it here would put an exception's text into it."""
        return record


class Listener(logging.handlers.QueueListener):
    """Writes what it is given on a thread of its own; an attempt's lines a little later, some at a time.

    One by one they would take turns with the attempt itself at the interpreter.
    """

    def __init__(self, records: queue.SimpleQueue[logging.LogRecord], stream: logging.Handler) -> None:
        super().__init__(records, stream)
        self._records = records
        self._stopping = threading.Event()

    def dequeue(self, block: bool) -> logging.LogRecord:
        """See `logging.handlers.QueueListener`."""
        record = super().dequeue(block)
        if hasattr(record, "attempt_id") and record.levelno <= logging.INFO and self._records.empty():
            self._stopping.wait(GATHER_S)
        return record

    def enqueue_sentinel(self) -> None:
        """See `logging.handlers.QueueListener`."""
        self._stopping.set()
        super().enqueue_sentinel()
