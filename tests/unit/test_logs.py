from __future__ import annotations

import asyncio
import functools
import gc
import json
import logging
import queue
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import centrald.logs
import gatewayd.logs
import jpki_kiosk.logs

NEVER_S = 600.0
PLANTED = "PLANTED9SECRET77"


KINDS: dict[str, Callable[[], logging.Formatter]] = {
    "daemon": functools.partial(gatewayd.logs.JsonFormatter, priority=False),
    "screen": functools.partial(jpki_kiosk.logs.JsonFormatter, priority=False),
    "centre": centrald.logs.JsonFormatter,
}


@pytest.fixture(params=KINDS)
def formatter(request: pytest.FixtureRequest) -> logging.Formatter:
    """Each program's own, held to the same rules."""
    return KINDS[request.param]()


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gatewayd.x", "levelname": "INFO", "levelno": 20, "msg": message, **extra})
    made.created = 1.5
    return made


def test_a_line_is_one_json_object(formatter: logging.Formatter) -> None:
    line = formatter.format(record("step", attempt_id="a", n=2))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "level": "info",
        "logger": "gatewayd.x",
        "event": "step",
        "attempt_id": "a",
        "n": 2,
    }


@pytest.mark.parametrize("kind", [gatewayd.logs.JsonFormatter, jpki_kiosk.logs.JsonFormatter])
def test_the_service_manager_gets_the_priority(kind: type[gatewayd.logs.JsonFormatter]) -> None:
    assert kind(priority=True).format(record("step")).startswith("<6>{")


def test_an_exception_is_told_by_type_and_place_never_by_its_text(formatter: logging.Formatter) -> None:
    def fail() -> None:
        try:
            raise ValueError(PLANTED)
        except ValueError as error:
            raise RuntimeError(PLANTED) from error

    try:
        fail()
    except RuntimeError:
        line = formatter.format(record("fault", exc_info=sys.exc_info()))
    assert PLANTED not in line
    told = json.loads(line)["exception"]
    assert [place.split(" at ")[0] for place in told] == ["RuntimeError", "ValueError"]


def test_an_object_in_a_line_is_told_by_its_type(formatter: logging.Formatter) -> None:
    class Thing:
        def __repr__(self) -> str:
            return PLANTED

    assert PLANTED not in formatter.format(record("x", thing=Thing()))


@pytest.mark.parametrize("program", [gatewayd.logs, jpki_kiosk.logs, centrald.logs])
async def test_a_fault_that_nobody_awaited_is_told_without_its_text(
    program: ModuleType, formatter: logging.Formatter, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError(PLANTED)

    asyncio.get_running_loop().set_exception_handler(program.tell_loop_fault)
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (told,) = caplog.records
    line = formatter.format(told)
    assert PLANTED not in line
    assert "ValueError" in line


class Written(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.put(record.getMessage())

    def next(self) -> str:
        return self.lines.get(timeout=5)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Written, gatewayd.logs.Listener]]:
    monkeypatch.setattr(gatewayd.logs, "GATHER_S", NEVER_S)
    handler = Written()
    listener = gatewayd.logs.Listener(queue.SimpleQueue(), handler)
    listener.start()
    yield handler, listener
    listener.stop()


def test_only_an_attempt_s_own_lines_are_gathered(written: tuple[Written, gatewayd.logs.Listener]) -> None:
    handler, listener = written
    for made in (record("serving"), record("central unavailable", attempt_id="a", levelno=logging.WARNING)):
        listener.queue.put_nowait(made)
        assert handler.next() == made.msg


def test_a_stop_writes_what_was_gathered(written: tuple[Written, gatewayd.logs.Listener]) -> None:
    handler, listener = written
    steps = [str(number) for number in range(5)]
    for step in steps:
        listener.queue.put_nowait(record(step, attempt_id="a"))
    listener.stop()
    assert [handler.next() for _ in steps] == steps
    listener.start()  # for the fixture to stop
