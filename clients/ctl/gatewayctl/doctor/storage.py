"""Checks of the disk and of the journal on it. The journal itself is only read: what is checked is a copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings

MIB = 1024 * 1024
DISK_WARN, DISK_FAIL = 200 * MIB, 20 * MIB
MAKE_ROOM = "Make room on that file system: no attempt is admitted when the journal cannot be written."
WAL_WARN = 64 * MIB  # the daemon empties it at 4 MiB
LARGEST_CHECKED = 512 * MIB
NEWEST_SCHEMA = 2  # of gatewayd's journal; a test holds them equal
COPIES = 5
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it; a journal may hold a card's receipt
MORE_THAN_OWNER = 0o077


def disk(evidence: Evidence) -> Finding:
    """Free space where the journal is (warns below 200 MiB, fails below 20), free inodes, whether it may be written."""
    findings = Findings("disk")
    settings = evidence.settings
    folder = settings.journal.parent
    try:
        found = os.statvfs(folder)
    except FileNotFoundError:
        findings.fail(f"The folder {folder} is not there.", "Make it, mode 0700, owned by gatewayd.")
        return findings.finding()
    except OSError as error:
        findings.unknown(f"{folder} cannot be seen: {error.strerror}.", "Run this as root.")
        return findings.finding()
    free = found.f_bavail * found.f_frsize
    findings.facts |= {"folder": str(folder), "free_mib": free // MIB, "free_inodes": found.f_favail}
    if found.f_flag & os.ST_RDONLY:
        findings.fail(f"{folder} is on a file system mounted read-only.", "Look for disk errors: journalctl --dmesg.")
    if free < DISK_FAIL:
        findings.fail(f"{free // MIB} MiB are free where the journal is.", MAKE_ROOM)
    elif free < DISK_WARN:
        findings.warn(f"{free // MIB} MiB are free where the journal is.", MAKE_ROOM)
    if found.f_files and not found.f_favail:
        findings.fail("There is no free inode where the journal is.", MAKE_ROOM)
    findings.ok(f"{free // MIB} MiB are free where the journal is.")
    return findings.finding()


def journal(evidence: Evidence) -> Finding:
    """The journal: mode, version of its tables, SQLite's integrity check on a copy, size of its write-ahead log."""
    findings = Findings("journal")
    settings = evidence.settings
    path = settings.journal
    try:
        found = path.stat()
        ahead = _size(_wal(path))
    except FileNotFoundError:
        if evidence.daemon is None:
            findings.warn(f"There is no journal {path} yet.", "The daemon makes it when it first starts.")
        else:
            findings.fail(
                f"The journal {path} was removed under the daemon.", "systemctl restart gatewayd, and find out who did."
            )
        return findings.finding()
    except OSError as error:
        findings.unknown(f"{path} cannot be seen: {error.strerror}.", "Run this as root.")
        return findings.finding()
    if not stat.S_ISREG(found.st_mode):
        findings.fail(f"{path} is no file.", "Find out who put it there; the daemon's folder is the daemon's alone.")
        return findings.finding()
    findings.facts |= {"path": str(path), "size_kib": found.st_size // 1024, "wal_kib": ahead // 1024}
    if stat.S_IMODE(found.st_mode) & MORE_THAN_OWNER:
        findings.fail(f"Others than its owner may read {path}.", f"chmod 0600 {path}")
    if ahead > WAL_WARN:
        findings.warn(f"{ahead // MIB} MiB wait beside the journal.", "systemctl restart gatewayd")
    if found.st_size + ahead > LARGEST_CHECKED:
        findings.unknown("The journal is too large to be checked here.", "Stop the daemon and check it with sqlite3.")
    else:
        _judge_content(findings, path)
    findings.ok(f"The journal is whole, {found.st_size // 1024} KiB.")
    return findings.finding()


def _judge_content(findings: Findings, path: Path) -> None:
    base = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=base) as folder:  # mode 0700
        try:
            copied = _copy(path, Path(folder))
        except OSError as error:
            findings.unknown(f"{path} may not be read: {error.strerror}.", "Run this as root.")
            return
        if not copied:
            findings.unknown("The journal changes faster than it can be copied.", "Look again.")
            return
        try:
            _judge_copy(findings, Path(folder) / path.name)
        except sqlite3.Error as error:
            findings.fail(f"SQLite cannot read the journal: {error}.", SAVE)


SAVE = (
    "Stop gatewayd and keep the file with its -wal for the unresolved attempts in it; "
    "then move both away and start gatewayd, which begins a new journal."
)


def _judge_copy(findings: Findings, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if answer != "ok":
            findings.fail("The journal is damaged.", SAVE)
            return
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        findings.facts["schema"] = schema
        if schema > NEWEST_SCHEMA:
            findings.fail(
                f"A newer gatewayd wrote the journal (tables {schema}, known here {NEWEST_SCHEMA}).",
                "Install that version again: an older one does not start on it.",
            )
            return
        if schema == 0:
            findings.fail("The journal has no tables.", SAVE)
            return
        if connection.execute("PRAGMA foreign_key_check").fetchone():
            findings.fail("Entries of the journal belong to no attempt.", SAVE)
        unresolved = "SELECT count(*) FROM attempts WHERE outcome = 'unknown' AND resolution IS NULL"
        pending = "SELECT count(*) FROM outbox WHERE acknowledged_at IS NULL"
        (findings.facts["unresolved"],) = connection.execute(unresolved).fetchone()
        (findings.facts["pending_reports"],) = connection.execute(pending).fetchone()


def _copy(path: Path, folder: Path) -> bool:
    """Copy the file and what is ahead of it; False when they changed under every try.

    A commit only adds to the write-ahead log, and half a commit at its end is none; but the log is emptied into the
    file now and then, and the two must be of one moment.
    """
    for _ in range(COPIES):
        before = _stamps(path)
        for source in (path, _wal(path)):
            if source.exists():
                shutil.copyfile(source, folder / source.name)
        if before == _stamps(path):
            return True
    return False


def _stamps(path: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for each in (path, _wal(path)):
        try:
            now = each.stat()
            found.append((now.st_size, now.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
