"""What is measured of the daemon beside a reset: its socket, its start, its idleness, its scrapes."""

from __future__ import annotations

import asyncio
import time

from jpkireset.gateway.v1.gateway_service_pb2 import WatchStatusRequest

from tests.bench import figures
from tests.bench.figures import MS, Spread
from tests.rig import front_end
from tests.rig.citizen import Citizen
from tests.rig.manager import Manager
from tests.rig.process import Process
from tests.rig.stack import Stack

SETTLE_SECONDS = 2.0


async def unary(citizen: Citizen, count: int) -> Spread:
    """Ask for the status, ms."""
    values = []
    for _ in range(count):
        begun = time.perf_counter()
        await citizen.front.status()
        values.append(MS * (time.perf_counter() - begun))
    return Spread.of(values)


async def stream(citizen: Citizen, count: int) -> Spread:
    """Wish for more time until the next view is there, ms: an input and a view, and nothing else is done for them."""
    citizen.place()
    await citizen.front.until_status(lambda status: status.card_present)
    attempt = await citizen.front.attempt()
    await attempt.until(front_end.ENTER_USER_PIN)
    values = []
    for _ in range(count):
        begun = time.perf_counter()
        await attempt.more_time()
        await attempt.until(front_end.ENTER_USER_PIN)
        values.append(MS * (time.perf_counter() - begun))
    await attempt.cancel()
    await attempt.until(front_end.REMOVE_CARD)
    await citizen.leave(attempt)
    await citizen.front.idle()
    return Spread.of(values)


async def idle(citizen: Citizen, seconds: float) -> tuple[float, float]:
    """Leave the daemon alone, with a front-end that watches its status: share of a core, and memory in MiB."""
    daemon = citizen.stack.gatewayd.process.pid
    watch = citizen.front.gateway.WatchStatus(WatchStatusRequest())
    try:
        await watch.read()
        await asyncio.sleep(min(SETTLE_SECONDS, seconds))
        begun, used = time.perf_counter(), figures.cpu_seconds(daemon)
        await asyncio.sleep(seconds)
        used = figures.cpu_seconds(daemon) - used
        return used / (time.perf_counter() - begun), figures.rss_mib(daemon)
    finally:
        watch.cancel()


def scrape(stack: Stack, count: int) -> tuple[Spread, float, int]:
    """Scrape: ms each, the daemon's CPU ms for one, and bytes."""
    daemon = stack.gatewayd.process.pid
    values, size = [], 0
    used = figures.cpu_seconds(daemon)
    for _ in range(count):
        begun = time.perf_counter()
        size = len(stack.scraped())
        values.append(MS * (time.perf_counter() - begun))
    return Spread.of(values), MS * (figures.cpu_seconds(daemon) - used) / count, size


def starts(stack: Stack, count: int) -> Spread:
    """Start the daemon anew so often, as a service manager does: ms from exec to READY=1."""
    daemon = stack.gatewayd
    daemon.stop()
    manager = Manager(stack.pcscd.directory / "notify.sock")
    environment = {**daemon.environment(), "NOTIFY_SOCKET": manager.address}
    values = []
    try:
        for _ in range(count):
            begun = time.perf_counter()
            with Process("gatewayd", daemon.command(), log=daemon.log, env=environment):
                manager.until(lambda line: line == "READY=1")
                values.append(MS * (time.perf_counter() - begun))
                manager.until(lambda line: line == "STATUS=ready")
    finally:
        manager.close()
    daemon.start()
    return Spread.of(values)
