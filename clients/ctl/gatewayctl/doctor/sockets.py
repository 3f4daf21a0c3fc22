"""Check of the daemon's two sockets: who may connect is said by nothing but their owner, group and mode."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings

OWNER_ONLY, OWNER_AND_GROUP = 0o600, 0o660
OTHERS = 0o007
WRITABLE_BY_MORE = 0o022
RESTART = "systemctl restart gatewayd, which makes its sockets anew."


def sockets(evidence: Evidence) -> Finding:
    """Both sockets: there, served, owned by the daemon's user, open to the configured group and to nobody else."""
    findings = Findings("sockets")
    settings = evidence.settings
    for role, path, group in (
        ("front-ends", settings.api_socket, settings.api_group),
        ("operators", settings.operators_socket, settings.operators_group),
    ):
        _judge_folder(findings, evidence, path.parent)
        try:
            found = path.stat()
        except FileNotFoundError:
            findings.fail(f"The socket for {role}, {path}, is not there.", "systemctl start gatewayd")
            continue
        except OSError as error:
            findings.unknown(f"{path} cannot be seen: {error.strerror}.", "Run this as root.")
            continue
        findings.facts[str(path)] = f"{_user(found.st_uid)}:{_group(found.st_gid)} {stat.S_IMODE(found.st_mode):04o}"
        _judge(findings, evidence, path, group, found)
    findings.ok("Both sockets are served, each open to its group alone.")
    return findings.finding()


def _judge(findings: Findings, evidence: Evidence, path: Path, group: str, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISSOCK(found.st_mode):
        findings.fail(f"{path} is no socket.", f"Remove it, then {RESTART}")
        return
    if mode & OTHERS:
        findings.fail(f"Every user of this machine may connect to {path} (mode {mode:04o}).", RESTART)
    if group:
        try:
            wanted = grp.getgrnam(group).gr_gid
        except KeyError:
            findings.fail(f"There is no group {group}.", f"Make it with systemd-sysusers, then {RESTART}")
            return
        if found.st_gid != wanted or mode & OWNER_AND_GROUP != OWNER_AND_GROUP:
            findings.fail(
                f"{path} is {_group(found.st_gid)}'s with mode {mode:04o}, and not {group}'s with 0660.", RESTART
            )
    elif mode & ~OWNER_ONLY & 0o770:
        findings.fail(f"{path} is open to the group {_group(found.st_gid)}, which no configuration says.", RESTART)
    else:
        findings.warn(
            f"{path} is open to the daemon's own user only.", "Name a group in the configuration, beside the socket."
        )
    daemon = evidence.daemon
    if daemon is not None and daemon.uid is not None and found.st_uid != daemon.uid:
        findings.fail(f"{path} is owned by {_user(found.st_uid)}, and not by the daemon's user.", RESTART)
    if evidence.sockets is None:
        findings.unknown("The kernel does not tell who serves a socket.", "Run this outside of the container.")
    elif not any(end.listening and end.name == str(path) for end in evidence.sockets):
        findings.fail(f"Nobody serves {path}.", "systemctl start gatewayd")


def _judge_folder(findings: Findings, evidence: Evidence, folder: Path) -> None:
    try:
        found = folder.stat()
    except OSError:
        return
    if found.st_mode & WRITABLE_BY_MORE:
        findings.fail(
            f"Others than its owner may write to {folder}, and put a socket of their own there.",
            f"chmod go-w {folder}",
        )
    elif evidence.daemon is not None and found.st_uid not in (0, evidence.daemon.uid):
        findings.fail(f"{folder} is owned by {_user(found.st_uid)}.", RESTART)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
