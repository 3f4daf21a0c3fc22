"""What is around a kiosk and can go wrong, for as long as a context lasts: the centre, the disk, the daemon itself."""

from __future__ import annotations

import contextlib
import datetime
import json
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.rig.process import BIN, run
from tests.rig.site import KIOSK_ID
from tests.rig.stack import Stack

JAPAN = ZoneInfo("Asia/Tokyo")
FORM = "%Y-%m-%d %H:%M:%S.%f"  # of a moment in the centre's database: UTC


def in_database(stack: Stack, statement: str, *values: str) -> int:
    """Change the centre's database from outside and return the number of rows changed."""
    with contextlib.closing(sqlite3.connect(stack.site.central / "centrald.db", timeout=5)) as database, database:
        return database.execute(statement, values).rowcount


def age_reservation(stack: Stack) -> None:
    """Make the newest reservation a day older where the centre keeps it: a day cannot be waited for."""
    now = datetime.datetime.now(datetime.UTC)
    moments = [(now - datetime.timedelta(hours=hours, seconds=1)).strftime(FORM) for hours in (24, 0)]
    sql = "UPDATE reservation SET created_at = ?, expires_at = ? WHERE newest AND state = 'reserved'"
    assert in_database(stack, sql, *moments) == 1


@contextlib.contextmanager
def kiosk_disabled(stack: Stack) -> Iterator[None]:
    """The centre, with this kiosk disabled."""
    kiosk = (KIOSK_ID, "--directory", stack.site.central)
    run([BIN / "centrald", "kiosk", "disable", *kiosk])
    try:
        yield
    finally:
        run([BIN / "centrald", "kiosk", "enable", *kiosk])


@contextlib.contextmanager
def closed_hours(stack: Stack) -> Iterator[None]:
    """The centre, closed at this hour."""
    hour = datetime.datetime.now(JAPAN).hour
    first = (hour + 2) % 23
    with centre_with(stack, opens=f"{first:02}:00", closes=f"{first:02}:30"):
        yield


@contextlib.contextmanager
def centre_with(stack: Stack, **texts: str) -> Iterator[None]:
    """The centre with another configuration."""
    config = stack.site.central / "centrald.toml"
    before = config.read_text()
    stack.centrald.configure(**texts)
    stack.centrald.restart()
    try:
        yield
    finally:
        config.write_text(before)
        stack.centrald.restart()


@contextlib.contextmanager
def maintained(stack: Stack) -> Iterator[None]:
    """The centre within an announced window."""
    now = datetime.datetime.now(datetime.UTC)
    begin, end = ((now + datetime.timedelta(hours=hours)).isoformat(timespec="seconds") for hours in (-1, 1))
    maintenance, there = (BIN / "centrald", "maintenance"), ("--directory", stack.site.central)
    added = json.loads(run([*maintenance, "add", begin, end, *there, "--json"]))
    try:
        yield
    finally:
        run([*maintenance, "cancel", str(added["id"]), *there])


@contextlib.contextmanager
def full_disk(stack: Stack) -> Iterator[None]:
    """The daemon may write no further byte into any file, as on a disk that is full."""
    before = resource.prlimit(stack.gatewayd.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stack.gatewayd.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(stack.gatewayd.process.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def daemon_of(stack: Stack, *program: str | Path) -> Iterator[None]:
    """Another program in the daemon's place."""
    usual = stack.gatewayd.program
    stack.gatewayd.stop()
    stack.gatewayd.program = program
    stack.gatewayd.start()
    try:
        yield
    finally:
        stack.gatewayd.stop()
        stack.gatewayd.program = usual
        stack.gatewayd.start()
