"""A kiosk of which everything that the doctor sees is made up: all well, and what a case makes of it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import grp
import importlib.metadata
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from cryptography import x509
from jpkireset.gateway.v1.gateway_service_pb2 import Status

from gatewayctl.doctor import betrayal, pcsc, processes, settings, storage
from gatewayctl.doctor.evidence import Evidence, Pcsc, SlotState
from gatewayctl.doctor.examination import CHECKS
from gatewayctl.doctor.finding import Finding
from gatewayctl.doctor.processes import UnixSocket
from gatewayctl.doctor.settings import Unreadable
from gatewayctl.doctor.way import Way
from tests.fakes.pki import make_pki
from tests.unit.clients.test_doctor_files import DRIVER, NOW, Files

LIBRARY, PCSCD_SOCKET = "/usr/lib/x86_64-linux-gnu/libpcsclite.so.1", "/run/pcscd/pcscd.comm"
FREE = SlotState(card=False, exclusive=False, shared=False, mute=False)
DAEMON = 4321  # process number
MIB = 1024 * 1024


def someone(name: str, *arguments: str, **others: Any) -> SimpleNamespace:
    """A process, as far as a check looks."""
    return SimpleNamespace(
        **{"pid": DAEMON, "shown": f"{name} (7)", "arguments": (name, *arguments), "environment": {}}
        | {"replaced": False, "uid": os.getuid()}
        | others
    )


class World(Files):
    """A kiosk where all is well, and what a case makes of it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.patch = patch
        self.now = NOW
        self.api, self.operators = folder / "api.sock", folder / "operators" / "api.sock"
        self.operators.parent.mkdir(mode=0o710)
        for path in (self.api, self.operators):
            os.mknod(path, stat.S_IFSOCK)
            path.chmod(0o660)
        group = grp.getgrgid(self.api.stat().st_gid).gr_name
        self.settings: dict[str, Any] = {
            "api_socket": self.api,
            "api_group": group,
            "operators_socket": self.operators,
            "operators_group": group,
        }
        self.evidence: dict[str, Any] = {
            "daemon": someone("gatewayd"),
            "status_or_why": Status(ready=True, version="0.1.0"),
            "metrics": {},
            "way": Way("open", skew_s=0.1),
            "pcsc": Pcsc("success", LIBRARY, {"Kiosk": FREE}),
            "sockets": [UnixSocket(at, True, str(path), 0) for at, path in enumerate((self.api, self.operators))],
            "pcscds": [someone("pcscd", "--foreground", "--auto-exit")],
        }
        self.versions("2.4.1", "2.4.1")
        self.disk()
        patch.setenv("PCSCLITE_CSOCK_NAME", PCSCD_SOCKET)

    def at(self, year: int) -> None:
        """Have another date."""
        self.now = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)

    def seen(self, **evidence: object) -> None:
        """See something else."""
        self.evidence |= evidence

    def configured(self, **values: object) -> None:
        """Have other settings."""
        self.settings |= values

    def examined(self, check: str) -> Finding:
        """Let a check look."""
        evidence = Evidence(self.config, self.now, self.root)
        try:
            found: object = dataclasses.replace(settings.read(self.config), **self.settings)
        except Unreadable as error:
            found = error
        vars(evidence).update(self.evidence, settings_or_why=found)
        return CHECKS[check](evidence)

    def versions(self, service: str, library: str) -> None:
        """Have these versions of pcscd and libpcsclite."""
        self.patch.setattr(pcsc, "service_version", lambda: service)
        self.patch.setattr(pcsc, "library_version", lambda _: library)

    def binding(self, version: str) -> None:
        """Have this version of pyscard; none when empty."""

        def tell(_: str) -> str:
            if not version:
                raise importlib.metadata.PackageNotFoundError
            return version

        self.patch.setattr(importlib.metadata, "version", tell)

    def disk(self, mib: int = 1000, inodes: int = 100, flags: int = 0) -> None:
        """Have a disk with so much room."""
        found = os.statvfs_result((MIB, MIB, 2000, mib, mib, 1000, inodes, inodes, flags, 255))
        self.patch.setattr(os, "statvfs", lambda _: found)

    def no_disk(self, error: type[OSError]) -> None:
        """Have none that can be seen."""
        self.patch.setattr(os, "statvfs", refusing(error))

    def hide(self, path: Path) -> None:
        """Keep a file from this user, whoever it is: root may read everything."""
        for name in ("stat", "read_bytes", "read_text"):
            self._patch(name, path, refusing(PermissionError))

    def give(self, path: Path, uid: int) -> None:
        """Have a file owned by somebody else."""
        fields = list(path.stat())
        fields[stat.ST_UID] = uid
        self._patch("stat", path, lambda *_, **__: os.stat_result(fields))

    def _patch(self, name: str, path: Path, instead: Callable[..., Any]) -> None:
        real = getattr(Path, name)
        self.patch.setattr(
            Path, name, lambda one, *args, **more: instead() if one == path else real(one, *args, **more)
        )

    def connected(self, *owners: int) -> None:
        """Have a connection to pcscd, of these processes; of none that can be seen when there are none."""
        self.seen(sockets=[*self.evidence["sockets"], UnixSocket(5, False, PCSCD_SOCKET, 6)])
        self.patch.setattr(processes, "owners", lambda inodes: {inode: set(owners) for inode in inodes})

    def slot(self, **state: bool) -> None:
        """Have the reader in another state."""
        self.seen(pcsc=Pcsc("success", LIBRARY, {"Kiosk": SlotState(**{**vars_of(FREE), **state})}))

    def pcsc(self, code: str, *readers: str, library: str = LIBRARY) -> None:
        """Have PC/SC say something else."""
        self.seen(pcsc=Pcsc(code, library, dict.fromkeys(readers, FREE), "words"))

    def driver(self, level: str) -> None:
        """Have the reader's driver at this level."""
        path = self.root / betrayal.DRIVER_SETTINGS
        path.parent.mkdir(parents=True)
        path.write_text(DRIVER.format(level=level))

    def certified(self, *names: x509.GeneralName, until: datetime.datetime) -> None:
        """Have another certificate."""
        self.use(make_pki(self.folder, list(names) or None, not_after=until))

    def other_pki(self) -> Path:
        """Return where files of another authority are."""
        other = self.folder / "other"
        other.mkdir()
        make_pki(other, authority="another")
        return other

    def credential(self) -> None:
        """Have the key handed over by systemd, and replaced since."""
        unit, loaded = self.root / "usr/lib/systemd/system/gatewayd.service", self.root / "run/credentials"
        loaded = loaded / "gatewayd.service" / "kiosk.key"
        for path in (unit, loaded):
            path.parent.mkdir(parents=True)
        unit.write_text("[Service]\nLoadCredential=kiosk.key:/kiosk.key\n")
        self.pki.kiosk_key.rename(loaded)
        (self.root / "kiosk.key").write_text("another")
        self.configured(key=loaded)

    def kept(self, script: str = "") -> None:
        """Have a journal, and do something to it."""
        asyncio.run(self.keep_journal())
        connection = sqlite3.connect(self.journal)
        connection.executescript(script)
        connection.close()

    def kept_with(self, **patched: object) -> None:
        """Have a journal, and look at it under other circumstances."""
        self.kept()
        for name, value in patched.items():
            self.patch.setattr(storage, name, value)


def vars_of(state: SlotState) -> dict[str, bool]:
    return {name: getattr(state, name) for name in state.__struct_fields__}


def refusing(error: type[OSError]) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise error(13, "Permission denied")

    return refuse
