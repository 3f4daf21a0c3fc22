"""PC/SC service, reader and centre come and go in every order, and each place that tells of it tells the same."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jpkireset.gateway.v1.gateway_service_pb2 import ReadinessProblem, Status

from tests.rig import metrics
from tests.rig.front_end import SECONDS, FrontEnd
from tests.rig.manager import Manager
from tests.rig.parts import Centrald, Gatewayd
from tests.rig.pcscd import KIOSK, PHONE, PrivatePcscd
from tests.rig.site import Site

RESET = "jpkireset.gateway.v1.ResetService"
PCSC, READER, CENTRE = "pcsc_unavailable", "reader_unavailable", "central_unavailable"
NOTICE_S = 25.0  # a step to the centre is tried for ten seconds first


class World:
    """What a daemon needs: all of it away at first."""

    def __init__(self, pcscd: PrivatePcscd, centrald: Centrald) -> None:
        self._pcscd = pcscd
        self._centrald = centrald
        self._service = self._reader = False

    @property
    def problems(self) -> set[str]:
        """What the daemon has to say of it."""
        reader = set() if self._service and self._reader else {READER} if self._service else {PCSC}
        return reader | (set() if self._centrald.running else {CENTRE})

    def change(self, what: str) -> None:
        """Bring something up, or take it away."""
        match what:
            case "+centre":
                self._centrald.start()
            case "-centre":
                self._centrald.kill()
            case "+service" | "-service" | "+reader" | "-reader":
                if self._service:
                    self._pcscd.kill(signal.SIGTERM)
                self._service = self._service if what.endswith("reader") else what == "+service"
                self._reader = self._reader if what.endswith("service") else what == "+reader"
                if self._service:
                    self._pcscd.resume([KIOSK, PHONE] if self._reader else [PHONE])

    def clear(self) -> None:
        """Take everything away."""
        if self._centrald.running:
            self.change("-centre")
        if self._service:
            self.change("-service")
        self._reader = False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[tuple[World, PrivatePcscd, Centrald, Site]]:
    directory = tmp_path_factory.mktemp("world")
    own = site.copy(directory / "site")
    with PrivatePcscd() as pcscd, Centrald(own, log=directory / "centrald.log") as centrald:
        pcscd.stop()  # its ports are chosen
        centrald.kill()  # and its address
        yield World(pcscd, centrald), pcscd, centrald, own


@pytest.fixture
async def told(
    world: tuple[World, PrivatePcscd, Centrald, Site], tmp_path: Path
) -> AsyncIterator[tuple[World, Gatewayd, Manager]]:
    """A world without anything in it, and a daemon that is not started."""
    empty, pcscd, centrald, site = world
    manager = Manager(tmp_path / "notify")
    daemon = Gatewayd(
        tmp_path / "kiosk",
        site=site,
        central_address=centrald.kiosk_address,
        socket=pcscd.directory / "api.sock",
        reader=f"{KIOSK} 00 00",
        pcsc={**pcscd.environment, "NOTIFY_SOCKET": manager.address},
        log=tmp_path / "gatewayd.log",
    )
    yield empty, daemon, manager
    daemon.close()
    manager.close()
    empty.clear()


def names(status: Status) -> set[str]:
    prefix = "READINESS_PROBLEM_"
    return {ReadinessProblem.Name(problem).removeprefix(prefix).lower() for problem in status.problems}


async def check(front: FrontEnd, daemon: Gatewayd, manager: Manager, wanted: set[str]) -> None:
    """Every place tells of these problems and no others."""
    status = await front.until_status(lambda status: names(status) == wanted, NOTICE_S)  # pushed
    assert status.ready == (not wanted)
    assert names(await front.status()) == wanted
    line = "ready" if not wanted else "not ready: " + ", ".join(sorted(wanted, reverse=True))
    manager.until(lambda told: told == f"STATUS={line}")
    families = metrics.scrape(daemon.metrics_url)
    reasons = {
        found.labels["reason"]: found.value for family in [families["gatewayd_ready"]] for found in family.samples
    }
    assert {reason for reason, value in reasons.items() if value} == (wanted or {"none"})
    async with grpc.aio.insecure_channel(f"unix:{daemon.socket}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        lives, admits = [
            (await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)).status
            for service in ("", RESET)
        ]
        assert lives == health_pb2.HealthCheckResponse.SERVING, "it lives, and answers why it is not ready"
        assert (admits == health_pb2.HealthCheckResponse.SERVING) == (not wanted)


def transitions(daemon: Gatewayd) -> list[set[str]]:
    """What the log tells of readiness, line by line."""
    lines = (json.loads(line) for line in daemon.process.output().splitlines() if line.startswith("{"))
    return [set(line["problems"]) for line in lines if line["event"] in ("ready", "not ready")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["+service", "+reader", "+centre", "-centre", "-service"]),
        (["+service"], ["+reader", "+centre", "-reader", "-service"]),
        (["+reader", "+service", "+centre"], ["-service", "+service"]),
        (["+centre", "+reader"], ["+service", "-reader", "+reader"]),
    ],
)
async def test_every_place_tells_the_same(
    told: tuple[World, Gatewayd, Manager], before: list[str], after: list[str]
) -> None:
    world, daemon, manager = told
    for change in before:
        world.change(change)
    daemon.start()
    pid = daemon.process.pid
    expected: list[set[str]] = []
    async with FrontEnd(daemon.socket) as front:
        for change in ["", *after]:
            world.change(change)
            begun = time.monotonic()
            await check(front, daemon, manager, world.problems)
            print(f"{change or 'start':8} told everywhere after {time.monotonic() - begun:.2f} s")
            expected.append(world.problems)
    assert daemon.process.pid == pid
    assert daemon.running
    logged = transitions(daemon)
    assert all(earlier != later for earlier, later in pairwise(logged)), "a line without a change"
    assert len(logged) == sum(line.startswith("STATUS=") for line in manager.told)
    following = iter(logged)
    assert all(problems in following for problems in expected), f"{expected} is not among {logged}, in this order"
    print(f"{len(expected)} states, {len(logged)} lines")
