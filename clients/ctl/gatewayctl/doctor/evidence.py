"""What several checks look at, each gathered once and only when asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import http.client
import os
import subprocess
import sys
from pathlib import Path

import grpc
import msgspec
from jpkireset.gateway.v1.gateway_service_pb2 import GetStatusRequest, Status
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from prometheus_client.parser import text_string_to_metric_families

from gatewayctl.doctor import processes, settings, units
from gatewayctl.doctor.processes import Process, UnixSocket
from gatewayctl.doctor.settings import Settings, Unreadable
from gatewayctl.doctor.way import Way, go
from gatewayctl.link import OPTIONS

PROBE = "import sys; sys.path[:] = sys.argv[1:]; from gatewayctl.doctor.probe import main; main()"
PCSCD = "pcscd"
PCSCD_SOCKET = "/run/pcscd/pcscd.comm"
PROBE_S = 5.0
STATUS_S = 2.0
METRICS_S = 3.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"  # pcscd is no program of an operator's PATH


class SlotState(msgspec.Struct, frozen=True):
    """One reader as pcscd tells."""

    card: bool
    exclusive: bool
    shared: bool
    mute: bool


class Pcsc(msgspec.Struct, frozen=True):
    """What the probe saw. `code` is "success", "silent" when pcscd did not answer in time, or PC/SC's word."""

    code: str
    library: str = ""
    readers: dict[str, SlotState] = {}
    detail: str = ""


class Evidence:
    """The kiosk as this user sees it. What could not be had is None or empty, with a reason beside it."""

    def __init__(self, config: Path, now: datetime.datetime, root: Path = Path("/")) -> None:
        """Take the daemon's configuration file, and where the system's files are (`root`: units, drivers)."""
        self.config = config
        self.now = now
        self.root = root
        self.pcscd_socket = os.environ.get("PCSCLITE_CSOCK_NAME") or PCSCD_SOCKET

    @functools.cached_property
    def settings_or_why(self) -> Settings | Unreadable:
        """The configuration, or why it cannot be used."""
        try:
            found = settings.read(self.config)
        except Unreadable as error:
            return error
        return dataclasses.replace(
            found,
            certificate=self._file(found.certificate),
            key=self._file(found.key),
            authority=self._file(found.authority),
        )

    def _file(self, path: Path) -> Path:
        """Return where a file is that may be a credential of systemd's: as loaded, or what it will be made of."""
        if path.is_absolute():
            return path
        loaded = units.loaded_credential(self.root, path.name)
        with contextlib.suppress(PermissionError):
            if loaded.exists():
                return loaded
        return units.credential_source(self.root, path.name) or loaded

    @property
    def settings(self) -> Settings:
        """The configuration. Raises Unreadable."""
        if isinstance(self.settings_or_why, Unreadable):
            raise self.settings_or_why
        return self.settings_or_why

    @functools.cached_property
    def daemon(self) -> Process | None:
        """The running daemon: it holds a lock beside its socket for life."""
        if isinstance(self.settings_or_why, Unreadable):
            return None
        path = self.settings.api_socket
        return processes.lock_holder(path.with_name(path.name + ".lock"))

    @functools.cached_property
    def status_or_why(self) -> Status | str:
        """The daemon's status, or the gRPC code and words of the failure."""
        why = ""
        for path in (self.settings.operators_socket, self.settings.api_socket):
            with grpc.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
                try:
                    return GatewayServiceStub(channel).GetStatus(GetStatusRequest(), timeout=STATUS_S).status
                except grpc.RpcError as error:
                    why = why or call_words(error)
                    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # a frozen daemon: no other socket helps
                        break
        return why

    @property
    def status(self) -> Status | None:
        """The daemon's status; None when it does not answer."""
        found = self.status_or_why
        return None if isinstance(found, str) else found

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """The daemon's metrics that have no labels, by name; empty when they cannot be had."""
        address = self._metrics_address
        if not address:
            return {}
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=METRICS_S)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError), contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
            return {sample.name: sample.value for sample in samples if not sample.labels}
        return {}

    @property
    def _metrics_address(self) -> str:
        url = os.environ.get("GATEWAYD_METRICS_URL", "")
        if url.startswith("http://"):
            return url.removeprefix("http://").partition("/")[0]
        if isinstance(self.settings_or_why, Unreadable):
            return ""
        address = self.settings.metrics_address
        port = address.rpartition(":")[2]
        return address if port.isdigit() and port != "0" else ""

    @functools.cached_property
    def way(self) -> Way:
        """How far one comes on the way to the centre. Raises Unreadable."""
        return go(self.settings)

    @functools.cached_property
    def pcsc(self) -> Pcsc:
        """What PC/SC tells without a card."""
        # With our own path and nothing of the environment's: the package has its modules where no site is.
        command = [sys.executable, "-ISB", "-c", PROBE, *sys.path]
        env = {**os.environ, "PCSCLITE_NO_BLOCKING": "1"}  # else the library repeats refused calls for ever
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False, env=env
            )
            return msgspec.json.decode(done.stdout, type=Pcsc)
        except subprocess.TimeoutExpired:
            return Pcsc("silent", detail=f"no answer within {PROBE_S:g} s")
        except (OSError, msgspec.DecodeError):
            return Pcsc("unusable", detail="pyscard, or the library below it, cannot be loaded")

    @functools.cached_property
    def sockets(self) -> list[UnixSocket] | None:
        """Every Unix socket; None when the kernel does not tell."""
        try:
            return processes.unix_sockets()
        except OSError:
            return None

    @functools.cached_property
    def pcscds(self) -> list[Process]:
        """The processes that serve PC/SC, or are called so where it cannot be seen which one serves."""
        called = [process for process in processes.all_processes() if process.name == PCSCD]
        inodes = {end.inode for end in self.sockets or () if end.name == self.pcscd_socket and end.listening}
        serving = set().union(*processes.owners(inodes).values())
        return [process for process in called if process.pid in serving] or called


def call_words(error: grpc.RpcError) -> str:
    """Return the code and the words of a failed call."""
    return f"{error.code().name}: {error.details()}"
