"""The central service as a process: it says when it serves, stops cleanly, and survives being killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import grpc
import pytest
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2_grpc
from jpkireset.central.v1 import kiosk_service_pb2 as pb

from tests.rig.process import insist
from tests.unit.centrald.world import new_id

SECONDS = 10.0
BEGIN = pb.BeginAttemptRequest(procedure=common_pb2.PROCEDURE_SIGNING_PASSWORD)


def centrald(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "centrald", *map(str, words)]


def run(*words: str | Path) -> str:
    return subprocess.run(centrald(*words), check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("central")
    run("init", "--directory", directory / "c", "--always-open")
    run("kiosk", "add", "c", "s", "k", "--directory", directory / "c", "--out", directory / "k")
    return directory


class Service:
    """`centrald serve`, started and asked by its kiosk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = (directory / "log").open("ab")
        self.process = subprocess.Popen(
            centrald("serve", "--directory", directory / "c"), stdout=subprocess.PIPE, stderr=self._log
        )
        assert self.process.stdout is not None
        self._out: IO[bytes] = self.process.stdout
        self.said = json.loads(self._out.readline())

    def kiosk(self) -> tuple[grpc.Channel, kiosk_service_pb2_grpc.KioskServiceStub]:
        roots, key, certificate = (
            (self._directory / "k" / name).read_bytes() for name in ("server-ca.pem", "kiosk.key", "kiosk.pem")
        )
        credentials = grpc.ssl_channel_credentials(roots, key, certificate)
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
        channel = grpc.secure_channel(self.said["kiosk_address"], credentials, options)
        return channel, kiosk_service_pb2_grpc.KioskServiceStub(channel)

    def begin(self, attempt_id: str) -> bytes:
        channel, kiosk = self.kiosk()
        with channel:
            begin = pb.BeginAttemptRequest(attempt_id=attempt_id, procedure=BEGIN.procedure)
            return kiosk.BeginAttempt(begin, timeout=SECONDS).challenge

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=SECONDS)
        self.rest = self._out.read()
        self._out.close()
        self._log.close()
        return code

    def log(self) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in (self._directory / "log").read_text().splitlines()]
        return [line for line in lines if line["logger"] != "centrald.revocation"]  # there is no list here


@pytest.fixture
def directory(initialized: Path, tmp_path: Path) -> Path:
    shutil.copytree(initialized, tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def service(directory: Path) -> Iterator[Service]:
    started = Service(directory)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_stops_cleanly(service: Service, number: int) -> None:
    assert set(service.said) == {"event", "kiosk_address", "phone_address", "metrics_address"}
    assert len(service.begin(new_id())) == 32
    assert service.end(number) == 0
    assert service.rest == b""  # one line is all it says
    assert [line["event"] for line in service.log()] == ["serving", "stopping", "stopped"]
    assert not list((service._directory / "c").glob("centrald.db-*"))  # the write-ahead log is folded in


def test_signals_after_the_first_change_nothing(service: Service) -> None:
    """Not even when all work is done, and a signal's default would be the process's death."""
    insist(service.process, signal.SIGTERM, signal.SIGINT)
    assert service.end(signal.SIGTERM) == 0
    assert [line["event"] for line in service.log()] == ["serving", "stopping", "stopped"]


def test_what_it_answered_survives_being_killed(service: Service, directory: Path) -> None:
    attempts = [new_id() for _ in range(5)]
    challenges = [service.begin(attempt) for attempt in attempts]
    service.end(signal.SIGKILL)
    again = Service(directory)
    try:
        assert [again.begin(attempt) for attempt in attempts] == challenges
    finally:
        assert again.end(signal.SIGTERM) == 0


def test_commands_work_while_it_serves(service: Service, directory: Path) -> None:
    run("chain", "disable", "c", "--directory", directory / "c")
    channel, kiosk = service.kiosk()
    with channel:
        status = kiosk.GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert status.refusal == common_pb2.REFUSAL_KIOSK_NOT_ENABLED
        run("chain", "enable", "c", "--directory", directory / "c")
        assert kiosk.GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS).refusal == 0
    attempt = new_id()
    service.begin(attempt)
    entries = [
        json.loads(line) for line in run("ledger", "show", "--directory", directory / "c", "--json").splitlines()
    ]
    assert [entry["event"] for entry in entries] == ["kiosk_added", "kiosk_disabled", "kiosk_enabled", "begun"]


def test_a_caller_that_gives_up_breaks_nothing(service: Service) -> None:
    channel, kiosk = service.kiosk()
    with channel:
        for step in range(40):
            attempt = new_id()
            begin = pb.BeginAttemptRequest(attempt_id=attempt, procedure=BEGIN.procedure)
            call = kiosk.BeginAttempt.future(begin, timeout=SECONDS)
            if step % 2:
                call.cancel()
            else:
                assert len(call.result().challenge) == 32
        assert kiosk.GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS).refusal == 0
    assert service.end(signal.SIGTERM) == 0
    assert {line["level"] for line in service.log()} == {"info"}


def test_a_port_in_use_is_said(service: Service, directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(directory / "c", other)
    config = (other / "centrald.toml").read_text().replace("127.0.0.1:0", service.said["kiosk_address"], 1)
    (other / "centrald.toml").write_text(config)
    done = subprocess.run(
        centrald("serve", "--directory", other), capture_output=True, text=True, timeout=30, env={**os.environ}
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot listen" in done.stderr
