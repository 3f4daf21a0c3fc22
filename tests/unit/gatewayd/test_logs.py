from __future__ import annotations

import json
import logging
import sys

from gatewayd.logs import JsonFormatter

PLANTED = "PLANTED9SECRET77"


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gatewayd.x", "levelname": "INFO", "levelno": 20, "msg": message, **extra})
    made.created = 1.5
    return made


def test_a_line_is_one_json_object() -> None:
    line = JsonFormatter(priority=False).format(record("step", attempt_id="a", n=2))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "level": "info",
        "logger": "gatewayd.x",
        "event": "step",
        "attempt_id": "a",
        "n": 2,
    }


def test_the_service_manager_gets_the_priority() -> None:
    assert JsonFormatter(priority=True).format(record("step")).startswith("<6>{")


def test_an_exception_is_told_by_type_and_place_never_by_its_text() -> None:
    def fail() -> None:
        try:
            raise ValueError(PLANTED)
        except ValueError as error:
            raise RuntimeError(PLANTED) from error

    try:
        fail()
    except RuntimeError:
        line = JsonFormatter(priority=False).format(record("fault", exc_info=sys.exc_info()))
    assert PLANTED not in line
    told = json.loads(line)["exception"]
    assert [place.split(" at ")[0] for place in told] == ["RuntimeError", "ValueError"]


def test_an_object_in_a_line_is_told_by_its_type() -> None:
    class Thing:
        def __repr__(self) -> str:
            return PLANTED

    assert PLANTED not in JsonFormatter(priority=False).format(record("x", thing=Thing()))
