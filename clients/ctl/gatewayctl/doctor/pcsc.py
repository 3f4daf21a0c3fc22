"""Checks of the PC/SC service: versions, whether it serves us the reader, and who has it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

from gatewayctl.doctor import processes
from gatewayctl.doctor.evidence import PCSCD, SYSTEM_PATH, Evidence, SlotState
from gatewayctl.doctor.finding import Finding, Findings
from gatewayctl.doctor.settings import Unreadable

COMMAND_S = 5.0
STUCK_LOCK_S = 60.0  # the longest legitimate one: a job of 20 s, the centre's 5 s, a job of 20 s
TESTED_PYSCARD = (2, 3, 1)
ONE_PROTOCOL_SINCE = (2, 4, 1)  # pcsc-lite's ChangeLog: older halves must be of one version

Version = tuple[int, ...]

# From, up to but without, what is wrong with it; pcsc-lite's ChangeLog.
KNOWN_BAD: tuple[tuple[Version, Version, str], ...] = (
    ((0,), (1, 9, 1), "SCardTransmit can hang, and a card taken during a command is not noticed"),
    ((2, 3, 2), (2, 3, 3), "polkit's rules do not work, so that a service gets no access"),
    ((2, 5, 0), (2, 5, 1), "readers with several slots do not work"),
)

_INDEX_AND_SLOT = re.compile(r" [0-9A-F]{2} [0-9A-F]{2}$")  # pcsc-lite, src/readerfactory.c


def versions(evidence: Evidence) -> Finding:
    """pcscd, libpcsclite and pyscard: known bad versions, halves that do not fit, a pcscd replaced while it runs."""
    findings = Findings("pcsc-versions")
    service, library = service_version(), library_version(evidence.pcsc.library)
    try:
        binding = importlib.metadata.version("pyscard")
    except importlib.metadata.PackageNotFoundError:
        binding = ""
    findings.facts |= {"pcscd": service, "libpcsclite": library, "pyscard": binding, "path": evidence.pcsc.library}
    if not binding:
        findings.fail("pyscard is not installed.", "Install the package gatewayd anew.")
    elif number(binding) < TESTED_PYSCARD:
        findings.warn(f"pyscard {binding} is older than the tested 2.3.1.", "Install the package gatewayd anew.")
    if not service:
        findings.fail("There is no pcscd, or it does not tell its version.", "Install pcscd: apt install pcscd.")
    for begin, end, why in KNOWN_BAD:
        for name, version in (("pcscd", service), ("libpcsclite", library)):
            if version and begin <= number(version) < end:
                newer = ".".join(map(str, end))
                findings.fail(
                    f"{name} {version} is known to be bad: {why}.",
                    f"Update pcscd and libpcsclite1 to {newer} or newer.",
                )
    if not library:
        findings.unknown(
            "The version of libpcsclite cannot be told: it belongs to no package.",
            "Use the distribution's libpcsclite1, which fits its pcscd.",
        )
    elif service and number(library) != number(service) and min(map(number, (library, service))) < ONE_PROTOCOL_SINCE:
        findings.warn(
            f"libpcsclite {library} and pcscd {service} are of two versions, which fit only by luck.",
            "Install both from the same release: apt install --reinstall pcscd libpcsclite1.",
        )
    if any(process.replaced for process in evidence.pcscds):
        findings.warn("pcscd was replaced on the disk and still runs as it was.", "systemctl restart pcscd")
    findings.ok(f"pcscd {service}, libpcsclite {library}, pyscard {binding}.")
    return findings.finding()


def service(evidence: Evidence) -> Finding:
    """Whether pcscd serves this user, and knows exactly one reader of the configured name. No card is touched."""
    findings = Findings("pcsc-service")
    seen = evidence.pcsc
    names = sorted(seen.readers)
    findings.facts |= {"code": seen.code, "readers": names, "socket": evidence.pcscd_socket}
    match seen.code:
        case "success":
            _judge_readers(findings, names, evidence)
        case "security_violation":
            findings.unknown(
                "pcscd (polkit) refuses this user, which says nothing of the daemon's own user.",
                "Run this as root, or as the user gatewayd.",
            )
        case "service_stopped":
            findings.fail(
                "libpcsclite and pcscd do not speak the same protocol.",
                "Install both from the same release: apt install --reinstall pcscd libpcsclite1.",
            )
        case "silent":
            findings.fail("pcscd takes calls and does not answer them.", "systemctl restart pcscd")
        case "unusable":
            findings.fail(f"PC/SC cannot be used: {seen.detail}.", "Install the package gatewayd anew.")
        case "no_service" if Path(evidence.pcscd_socket).exists() and not os.access(evidence.pcscd_socket, os.W_OK):
            findings.unknown("This user may not connect to pcscd's socket.", "Run this as root.")
        case code:
            findings.fail(f"pcscd does not serve ({code}).", "systemctl enable --now pcscd.socket")
    return findings.finding()


def _judge_readers(findings: Findings, names: list[str], evidence: Evidence) -> None:
    if isinstance(evidence.settings_or_why, Unreadable):
        there = ", ".join(names) or "none"
        findings.unknown(f"pcscd serves these readers: {there}. Which is meant is not known.", "See configuration.")
        return
    wanted = evidence.settings.reader
    matching = readers_called(wanted, names)
    findings.facts["reader"] = wanted
    others = ", ".join(names) or "none"
    if len(matching) == 1:
        findings.ok(f"pcscd serves the reader {matching[0]}.")
        if evidence.pcsc.readers[matching[0]].mute:
            findings.warn(
                "The card on the reader answers nothing.", "Lift it; if it is not the card, clean the reader."
            )
    elif not matching:
        findings.fail(
            f"No reader is called {wanted!r}; there are: {others}.",
            "Plug the reader in, or correct reader.name in the configuration.",
        )
    else:
        findings.fail(
            f"{len(matching)} readers are called {wanted!r}: {others}.",
            "Write the full name into reader.name, or unplug the others.",
        )


def readers_called(wanted: str, names: list[str]) -> list[str]:
    """Return the readers that the configured name means: itself, or all that are it with index and slot."""
    if wanted in names:
        return [wanted]
    return [name for name in names if _INDEX_AND_SLOT.sub("", name) == wanted]


def holder(evidence: Evidence) -> Finding:
    """Who has the reader: the daemon, by its lock metrics, or another program; and who else speaks to pcscd."""
    findings = Findings("reader-holder")
    lock_held, age = evidence.metrics.get("gatewayd_reader_lock_held"), None
    if lock_held:
        age = round(evidence.metrics.get("gatewayd_reader_lock_age_seconds", 0.0), 1)
    strangers, unseen = _strangers(evidence)
    slot = _slot(evidence)
    findings.facts |= {
        "use": None if slot is None else "exclusive" if slot.exclusive else "shared" if slot.shared else "none",
        "lock_age_seconds": age,
        "others": strangers,
        "unseen_connections": unseen,
    }
    named = ", ".join(strangers)
    if age is not None and age > STUCK_LOCK_S:
        findings.fail(
            f"gatewayd has held the reader for {age:g} s, longer than any job lasts.",
            "Lift the card; if that does not help, systemctl restart pcscd.",
        )
    used = slot is not None and (slot.exclusive or slot.shared)
    if used and not lock_held and (strangers or unseen):
        who = named or "a program that this user cannot see"
        findings.fail(f"The reader is held by {who}.", "Stop that program, and remove it from the kiosk.")
    elif strangers:
        findings.warn(
            f"Other programs speak to pcscd: {named}.", "Remove them from the kiosk: they may take the reader."
        )
    elif unseen:
        findings.unknown(
            f"{unseen} connections to pcscd belong to programs that this user cannot see.", "Run this as root."
        )
    if slot is None:
        findings.unknown("pcscd does not tell of the reader.", "See pcsc-service.")
    findings.ok("gatewayd has the reader." if lock_held or used else "Nobody has the reader.")
    return findings.finding()


def _slot(evidence: Evidence) -> SlotState | None:
    if isinstance(evidence.settings_or_why, Unreadable):
        return None
    matching = readers_called(evidence.settings.reader, sorted(evidence.pcsc.readers))
    return evidence.pcsc.readers[matching[0]] if len(matching) == 1 else None


def _strangers(evidence: Evidence) -> tuple[list[str], int]:
    """Return who speaks to pcscd and is not the daemon, and how many connections are nobody's that can be seen."""
    ends = evidence.sockets or []
    served = [end for end in ends if end.name == evidence.pcscd_socket and end.peer]
    clients = processes.owners({end.peer for end in served})
    ours = {os.getpid()} | ({evidence.daemon.pid} if evidence.daemon else set())
    pids = set().union(*clients.values()) - ours
    others = [found.shown for pid in sorted(pids) if (found := processes.process(pid)) is not None]
    unseen = sum(not pids for pids in clients.values())
    if evidence.daemon is not None and evidence.daemon.environment is None:
        unseen = max(0, unseen - DAEMON_CONNECTIONS)  # cannot be seen to be the daemon's, and surely are
    return others, unseen


DAEMON_CONNECTIONS = 2  # one context for the card, one for the presence watch


def service_version() -> str:
    """Return what the installed pcscd says of itself, empty when there is none.

    Only a program of the system is asked: a process that calls itself pcscd may be anybody's.
    """
    program = shutil.which(PCSCD, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")
    found = re.search(r"version (\d[\w.]*\w)", _said([program, "--version"])) if program else None
    return found.group(1) if found else ""


def library_version(path: str) -> str:
    """Return the version of the package that the library belongs to, empty when it belongs to none."""
    if not path:
        return ""
    owner = _said(["dpkg-query", "--search", f"*/{Path(path).resolve().name}"]).partition(":")[0]
    version = _said(["dpkg-query", "--show", "--showformat=${Version}", owner]) if owner else ""
    return version.rpartition(":")[2].partition("-")[0]  # without epoch and Debian's revision


def number(version: str) -> Version:
    """Return a version's numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _said(command: list[str]) -> str:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False, text=True
        )
        return done.stdout if done.returncode == 0 else ""
    return ""
