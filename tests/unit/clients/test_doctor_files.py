"""The doctor's checks of files: configuration, certificates, journal, disk, versions, debug modes. Real files each."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from gatewayctl.doctor import betrayal, centre, certificates, daemon, examination, pcsc, settings, storage
from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings, Verdict
from gatewayctl.exits import ExitCode
from gatewayd.clock import SystemClock
from gatewayd.config import Config
from gatewayd.journal.schema import MIGRATIONS
from gatewayd.journal.store import Journal
from tests.fakes.pki import NOT_AFTER, Pki, make_pki
from tests.rig.parts import toml
from tests.rig.process import run

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
ATTEMPT = "670e3e68-f412-48de-a30d-e58b4146156a"


class Files:
    """A kiosk's files in a folder of their own, as they should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gatewayd.toml"
        self.journal = folder / "journal.db"
        self.root = folder / "root"
        self.root.mkdir()
        self.use(make_pki(folder))

    def use(self, pki: Pki) -> None:
        """Write the configuration with these certificates."""
        if pki.kiosk_key.is_absolute():
            pki.kiosk_key.chmod(0o600)
        self.pki = pki
        self.write(central={"address": "127.0.0.1:9", "authority": pki.authority, "certificate": pki.kiosk})

    def write(self, central: dict[str, object]) -> None:
        """Write the configuration."""
        sections: dict[str, dict[str, object]] = {
            "api": {"socket": self.folder / "api.sock"},
            "reader": {"name": "Kiosk"},
            "central": {"key": self.pki.kiosk_key, **central},
            "journal": {"path": self.journal},
        }
        self.config.write_text(toml(sections))

    def look(self, check: Callable[[Evidence], Finding], now: datetime.datetime = NOW) -> Finding:
        """Let one check look."""
        return check(Evidence(self.config, now, self.root))

    async def keep_journal(self) -> None:
        """Let the daemon's own code make the journal."""
        journal = await Journal.open(self.journal, SystemClock())
        await journal.accept(ATTEMPT, "signing_password")
        await journal.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# --- configuration ----------------------------------------------------------------------------------------------------


def test_configuration(files: Files) -> None:
    assert files.look(daemon.configuration).verdict is Verdict.OK


def test_configuration_that_others_may_write(files: Files) -> None:
    files.config.chmod(0o666)
    assert files.look(daemon.configuration).verdict is Verdict.FAIL


@pytest.mark.parametrize("content", ["[reader\n", "[reader]\nname = 'Kiosk'\n", "[reader]\nname = 1\n", "\xff"])
def test_configuration_that_is_none(files: Files, content: str) -> None:
    files.config.write_bytes(content.encode("latin-1"))
    assert files.look(daemon.configuration).verdict is Verdict.FAIL
    found = {finding.check: finding.verdict for finding in examination.examine(files.config, NOW)}
    assert set(found) == set(examination.CHECKS), "no check ends another"
    assert found["journal"] is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("[api]\nsocket = 5\n", "api.socket"),
        ("[operators]\nsocket = ''\n", "operators.socket"),
        ("[journal]\npath = '/tmp/\\u0000'\n", "journal.path"),
        ("[journal]\npath = []\n[metrics]\naddress = 1\n", "journal.path, metrics.address"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_hides_nothing_else(files: Files, content: str, wrong: str) -> None:
    required = f"[central]\naddress='127.0.0.1:9'\nauthority='{files.pki.authority}'\ncertificate='x'\nkey='x'\n"
    files.config.write_text(f"[reader]\nname = 'Kiosk'\n{required}{content}".replace("'", '"'))
    found = {finding.check: finding for finding in examination.examine(files.config, NOW)}
    assert found["configuration"].verdict is Verdict.FAIL
    assert f": {wrong} cannot be so" in found["configuration"].summary
    assert not any("check itself failed" in one.summary for one in found.values())


@pytest.mark.filterwarnings("error")  # of a thread that ends by an exception
def test_a_name_that_is_none_has_no_address(files: Files) -> None:
    files.write(central={"address": "a..b:443", "authority": files.pki.authority, "certificate": files.pki.kiosk})
    assert files.look(centre.centre).facts["word"] == "dns"
    assert files.look(centre.centre).facts["detail"] == "it is no name"


def test_no_configuration(files: Files) -> None:
    files.config.unlink()
    found = files.look(daemon.configuration)
    assert (found.verdict, "No such file" in found.summary) == (Verdict.FAIL, True)


def test_defaults_are_the_daemons() -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for (section, key), default in settings.DEFAULTS.items():
        owner = {field.name: field.default for field in msgspec.structs.fields(fields[section])}
        assert owner[key] == default, f"{section}.{key}"
    assert len(MIGRATIONS) == storage.NEWEST_SCHEMA


# --- certificates -----------------------------------------------------------------------------------------------------


def test_certificates(files: Files) -> None:
    found = files.look(certificates.certificates)
    assert found.verdict is Verdict.OK
    assert found.facts["kiosk_id"] == "seven/0001/1"
    assert "2099" in str(found.facts["client_not_after"])


@pytest.mark.parametrize(
    ("days", "verdict"), [(31, Verdict.OK), (29, Verdict.WARN), (0, Verdict.WARN), (-1, Verdict.FAIL)]
)
def test_expiry(files: Files, days: int, verdict: Verdict) -> None:
    files.use(make_pki(files.folder, not_after=NOW + datetime.timedelta(days=days, hours=1)))
    assert files.look(certificates.certificates).verdict is verdict


def test_not_valid_yet(files: Files) -> None:
    found = files.look(certificates.certificates, datetime.datetime(2019, 1, 1, tzinfo=datetime.UTC))
    assert found.verdict is Verdict.FAIL
    assert "clock" in found.remedy


def test_no_pair(files: Files) -> None:
    other = files.folder / "other"
    other.mkdir()
    shutil.copyfile(make_pki(other).kiosk_key, files.pki.kiosk_key)
    found = files.look(certificates.certificates)
    assert (found.verdict, found.summary) == (Verdict.FAIL, "Key and certificate are no pair.")


def test_no_chain(files: Files) -> None:
    other = files.folder / "other"
    other.mkdir()
    stranger = make_pki(other, authority="another authority").authority.read_bytes()
    files.pki.kiosk.write_bytes(files.pki.kiosk.read_bytes() + stranger)
    found = files.look(certificates.certificates)
    assert (found.verdict, "no chain" in found.summary) == (Verdict.FAIL, True)


@pytest.mark.parametrize(
    "names", [[], [x509.DNSName("kiosk")], [x509.UniformResourceIdentifier("spiffe://other/kiosk/1")]]
)
def test_no_kiosk(files: Files, names: list[x509.GeneralName]) -> None:
    files.use(make_pki(files.folder, names, not_after=NOT_AFTER))
    found = files.look(certificates.certificates)
    assert (found.verdict, "names no kiosk" in found.summary) == (Verdict.FAIL, True)


@pytest.mark.parametrize("name", ["authority", "kiosk", "kiosk_key"])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("no PEM")], ids=["missing", "broken"])
def test_a_file_that_is_none(files: Files, name: str, spoil: Callable[[Path], object]) -> None:
    spoil(getattr(files.pki, name))
    found = files.look(certificates.certificates)
    assert found.verdict is Verdict.FAIL
    assert getattr(files.pki, name).name in found.summary


def test_a_key_for_all_to_read(files: Files) -> None:
    files.pki.kiosk_key.chmod(0o644)
    found = files.look(certificates.certificates)
    assert (found.verdict, "0644" in found.summary) == (Verdict.FAIL, True)


def test_a_key_that_systemd_hands_over(files: Files) -> None:
    """As the package has it: root's file, loaded when the daemon starts."""
    private = files.root / "etc/gatewayd/tls/kiosk.key"
    unit = files.root / "usr/lib/systemd/system/gatewayd.service"
    loaded = files.root / "run/credentials/gatewayd.service/kiosk.key"
    for path in (private, unit, loaded):
        path.parent.mkdir(parents=True)
    unit.write_text("[Service]\nLoadCredential=kiosk.key:/etc/gatewayd/tls/kiosk.key\n")
    files.pki.kiosk_key.rename(private)
    files.use(dataclasses.replace(files.pki, kiosk_key=Path("kiosk.key")))
    assert files.look(certificates.certificates).verdict is Verdict.OK, "before the daemon is started"
    shutil.copy(private, loaded)
    assert files.look(certificates.certificates).verdict is Verdict.OK
    other = files.folder / "other"
    other.mkdir()
    shutil.copyfile(make_pki(other).kiosk_key, private)
    found = files.look(certificates.certificates)
    assert (found.verdict, "replaced on the disk" in found.summary) == (Verdict.WARN, True)


# --- journal ----------------------------------------------------------------------------------------------------------


async def test_journal(files: Files) -> None:
    await files.keep_journal()
    before = files.journal.read_bytes()
    found = files.look(storage.journal)
    assert found.verdict is Verdict.OK
    assert found.facts["schema"] == len(MIGRATIONS)
    assert files.journal.read_bytes() == before
    assert not list(storage.IN_MEMORY.glob("doctor-*")), "the copy is gone"


async def test_journal_in_use_is_read_with_what_waits_beside_it(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await Journal.open(files.journal, SystemClock())
    await journal.accept(ATTEMPT, "signing_password")
    await journal.begun(ATTEMPT)
    await journal.authorizing(ATTEMPT, 1)
    await journal.intend(ATTEMPT, 1)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    found = files.look(storage.journal)
    assert (found.verdict, found.facts["unresolved"], found.facts["pending_reports"]) == (Verdict.OK, 1, 1)
    monkeypatch.setattr(storage, "WAL_WARN", 0)
    assert files.look(storage.journal).verdict is Verdict.WARN
    await journal.close()


async def test_damaged_journal(files: Files) -> None:
    await files.keep_journal()
    content = bytearray(files.journal.read_bytes())
    for page in range(1, len(content) // 4096):  # all but the first, which has the tables' names
        content[page * 4096 : page * 4096 + 64] = bytes(range(64))
    files.journal.write_bytes(content)
    found = files.look(storage.journal)
    assert found.verdict is Verdict.FAIL
    assert "keep the file" in found.remedy


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + bytes(5000)])
async def test_no_database(files: Files, content: bytes) -> None:
    files.journal.write_bytes(content)
    files.journal.chmod(0o600)
    assert files.look(storage.journal).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "newer gatewayd"),
        ("PRAGMA user_version = 0", "no tables"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM attempts", "belong to no attempt"),
    ],
)
async def test_journal_of_another_kind(files: Files, script: str, said: str) -> None:
    await files.keep_journal()
    connection = sqlite3.connect(files.journal)
    connection.executescript(script)
    connection.close()
    found = files.look(storage.journal)
    assert (found.verdict, said in found.summary) == (Verdict.FAIL, True)


async def test_journal_for_others_to_read(files: Files) -> None:
    await files.keep_journal()
    files.journal.chmod(0o640)
    assert files.look(storage.journal).verdict is Verdict.FAIL


def test_journal_that_is_to_come(files: Files) -> None:
    assert files.look(storage.journal).verdict is Verdict.WARN


def test_a_journal_that_is_no_file_is_not_waited_for(files: Files) -> None:
    os.mkfifo(files.journal, 0o600)
    found = files.look(storage.journal)
    assert (found.verdict, "is no file" in found.summary) == (Verdict.FAIL, True)


async def test_journal_that_never_rests(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    await files.keep_journal()

    def copy_and_commit(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())
        files.journal.write_bytes(files.journal.read_bytes() + bytes(4096))

    monkeypatch.setattr(shutil, "copyfile", copy_and_commit)
    assert files.look(storage.journal).verdict is Verdict.UNKNOWN


# --- disk -------------------------------------------------------------------------------------------------------------

# In a mount namespace of its own: each word of options is a file system to look at; prints each finding.
DISKS = """
import datetime, pathlib, subprocess, sys
import msgspec
from gatewayctl.doctor import evidence, storage
config, folder, *disks = sys.argv[1:]
for options in disks:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    found = storage.disk(evidence.Evidence(pathlib.Path(config), datetime.datetime.now(datetime.UTC)))
    print(msgspec.json.encode(found).decode())
"""


def look_at_disks(files: Files, *disks: str) -> list[Finding]:
    """Look at file systems of these options, for which no privilege is needed in a namespace of one's own."""
    disk = files.folder / "disk"
    disk.mkdir()
    files.journal = disk / "journal.db"
    files.use(files.pki)
    command: list[str | Path] = [
        "unshare",
        "--map-root-user",
        "--mount",
        sys.executable,
        "-c",
        DISKS,
        files.config,
        disk,
        *disks,
    ]
    return [msgspec.json.decode(line, type=Finding) for line in run(command).splitlines()]


def test_disk(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "DISK_WARN", 0)  # of this machine nothing is said
    monkeypatch.setattr(storage, "DISK_FAIL", 0)
    assert files.look(storage.disk).verdict is Verdict.OK


def test_a_disk_that_is_full(files: Files) -> None:
    scarce, few, fixed = look_at_disks(files, "size=100m", "size=10m,nr_inodes=1", "size=300m,ro")
    assert (scarce.verdict, scarce.summary) == (Verdict.WARN, "100 MiB are free where the journal is.")
    assert (few.verdict, "10 MiB" in few.summary, "no free inode" in few.summary) == (Verdict.FAIL, True, True)
    assert (fixed.verdict, "read-only" in fixed.summary) == (Verdict.FAIL, True)


def test_no_folder(files: Files) -> None:
    files.journal = files.folder / "no" / "journal.db"
    files.use(files.pki)
    assert files.look(storage.disk).verdict is Verdict.FAIL


# --- versions ---------------------------------------------------------------------------------------------------------


def pcscd_says(files: Files, monkeypatch: pytest.MonkeyPatch, version: str) -> Finding:
    """Look where the installed pcscd is a program of this version."""
    program = files.folder / "pcscd"
    program.write_text(f"#!/bin/sh\necho pcsc-lite version {version}.\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(files.folder), prepend=os.pathsep)
    return files.look(pcsc.versions)


def test_versions(files: Files) -> None:
    found = files.look(pcsc.versions)
    assert found.verdict is Verdict.OK
    assert found.facts["pcscd"] == found.facts["libpcsclite"]


@pytest.mark.parametrize(
    ("version", "verdict", "said"),
    [
        ("1.8.26", Verdict.FAIL, "SCardTransmit can hang"),
        ("2.3.2", Verdict.FAIL, "polkit's rules do not work"),
        ("2.0.0", Verdict.WARN, "of two versions"),
        ("nothing", Verdict.FAIL, "does not tell its version"),
    ],
)
def test_versions_known_to_be_bad(
    files: Files, monkeypatch: pytest.MonkeyPatch, version: str, verdict: Verdict, said: str
) -> None:
    found = pcscd_says(files, monkeypatch, version)
    assert (found.verdict, said in found.summary) == (verdict, True), found


def test_old_and_new_halves_fit_since_they_negotiate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pcsc.number("2.5.1") >= pcsc.ONE_PROTOCOL_SINCE
    assert pcsc.number("2.10.0") > pcsc.number("2.4.1")


# --- debug modes ------------------------------------------------------------------------------------------------------

DRIVER = """<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>
<key>ifdLogLevel</key><string>{level}</string></dict></plist>"""


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("etc/default/pcscd", 'PCSCD_ARGS="--apdu"\n'),
        ("etc/default/pcscd", "LIBCCID_ifdLogLevel=0x000F\n"),
        ("etc/systemd/system/pcscd.service.d/debug.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/pcscd -fa\n"),
        ("usr/lib/systemd/system/pcscd.service", "[Service]\nExecStart=/usr/sbin/pcscd --foreground --apd\n"),
        ("run/systemd/system/pcscd.service.d/a.conf", '[Service]\nEnvironment="LIBCCID_ifdLogLevel=4" A=b\n'),
        ("etc/systemd/system/gatewayd.service.d/a.conf", "[Service]\nEnvironment=LIBPCSCLITE_DELEGATE=/tmp/spy.so\n"),
        (
            "etc/systemd/system/gatewayd.service.d/b.conf",
            "[Service]\nEnvironment='LD_PRELOAD=/usr/lib/libpcscspy.so'\n",
        ),
        ("etc/systemd/system/gatewayd.service.d/c.conf", "[Service]\nEnvironment=GRPC_TRACE=all\n"),
    ],
)
def test_units_that_would_log_commands(files: Files, path: str, content: str) -> None:
    assert files.look(betrayal.debug_modes).verdict is not Verdict.FAIL
    unit = files.root / path
    unit.parent.mkdir(parents=True)
    unit.write_text(content)
    found = files.look(betrayal.debug_modes)
    assert (found.verdict, str(unit) in found.summary) == (Verdict.FAIL, True)
    assert "wipe the logs" in found.remedy


def test_a_spy_in_the_place_of_the_library(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """PC/SC's own, which Debian's libpcsclite-dev brings."""
    spy = Path(Evidence(files.config, NOW).pcsc.library).with_name("libpcscspy.so.0")
    monkeypatch.setenv("LD_PRELOAD", str(spy))
    found = files.look(betrayal.debug_modes)
    assert (found.verdict, spy.name in found.summary) == (Verdict.FAIL, True)


@pytest.mark.parametrize(
    "content",
    [
        "[Service]\nExecStart=/usr/sbin/pcscd --foreground --auto-exit $PCSCD_ARGS\n",
        "[Service]\n#ExecStart=/usr/sbin/pcscd --apdu\nEnvironment=PCSCLITE_FILTER_IGNORE_READER_NAMES=SAM\n",
        "[Service]\nExecStart=/usr/sbin/pcscd --config /etc/apdu --max-thread 200 -x --newest-option\n",
    ],
)
def test_units_that_log_nothing(files: Files, content: str) -> None:
    unit = files.root / "etc/systemd/system/pcscd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(content)
    assert not list(betrayal.told_by_units(files.root, driver_logs=False))


@pytest.mark.parametrize(("level", "logs"), [("0x0003", False), ("0x0007", True), ("15", True), ("", False)])
def test_level_of_the_driver(files: Files, level: str, logs: bool) -> None:
    """Which decides how bad a pcscd in debug mode is."""
    path = files.root / betrayal.DRIVER_SETTINGS
    path.parent.mkdir()
    path.write_text(DRIVER.format(level=level))
    assert betrayal.logs_commands(betrayal.driver_level(path)) is logs
    ((verdict, _),) = betrayal.telling_arguments(["-fd"], driver_logs=logs)
    assert verdict is (Verdict.FAIL if logs else Verdict.WARN)
    path.write_text("no plist")
    assert betrayal.driver_level(path) == ""


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_worst_counts() -> None:
    findings = Findings("any")
    findings.ok("Good.")
    findings.warn("Bad.", "Do this.")
    findings.warn("Also bad.", "Do this.")
    found = findings.finding()
    assert (found.verdict, found.summary, found.remedy) == (Verdict.WARN, "Bad. Also bad.", "Do this.")
    assert [verdict.exit_code for verdict in Verdict] == [
        ExitCode.DONE,
        ExitCode.UNSEEN,
        ExitCode.WARNED,
        ExitCode.FAILED,
    ]


def test_a_check_that_breaks_ends_no_other(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Evidence) -> Finding:
        raise RuntimeError("no text of an error is shown")

    monkeypatch.setattr(examination, "CHECKS", {"broken": broken, "disk": storage.disk})
    first, second = examination.examine(files.config, NOW)
    assert (first.verdict, first.summary) == (Verdict.UNKNOWN, "The check itself failed (RuntimeError).")
    assert second.check == "disk"


def test_the_schema_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gatewayctl", "doctor", "--schema"], capture_output=True, timeout=20, check=True
    )
    schema = msgspec.json.decode(done.stdout)
    assert set(schema["$defs"]) == {"Finding", "Report", "Verdict"}
