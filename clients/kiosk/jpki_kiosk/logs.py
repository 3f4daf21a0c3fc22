"""Log lines: one JSON object a line on standard error. Exceptions show types and places, never their texts."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import sys
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # sd-daemon(3), as in syslog(3)


class JsonFormatter(logging.Formatter):
    """One record as one line; `extra` fields become keys."""

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
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _places(record.exc_info[1])
        text = json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)
        return f"<{_PRIORITY[record.levelname]}>{text}" if self._priority else text


def _places(error: BaseException | None) -> list[str]:
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


def set_up(level: str, *, journald: bool) -> None:
    """Send the root logger's records to standard error; `journald` prefixes each line with its priority."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(priority=journald))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that it starts and stops is told by ourselves
