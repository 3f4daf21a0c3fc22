"""The checks, in the order they are told, and one run of them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gatewayctl.doctor import betrayal, centre, certificates, daemon, pcsc, sockets, storage
from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import FORMAT, Finding, Report, Verdict, worst
from gatewayctl.doctor.settings import Unreadable

Check = Callable[[Evidence], Finding]

CHECKS: dict[str, Check] = {
    "configuration": daemon.configuration,
    "daemon": daemon.daemon,
    "sockets": sockets.sockets,
    "pcsc-versions": pcsc.versions,
    "pcsc-service": pcsc.service,
    "reader-holder": pcsc.holder,
    "pcsc-debug": betrayal.debug_modes,
    "certificates": certificates.certificates,
    "centre": centre.centre,
    "clock": centre.clock,
    "disk": storage.disk,
    "journal": storage.journal,
}


def examine(config: Path, now: datetime.datetime) -> Iterator[Finding]:
    """Run every check and yield what it found; one that breaks is told as unknown and ends no other."""
    evidence = Evidence(config, now)
    for name, check in CHECKS.items():
        try:
            yield check(evidence)
        except Unreadable:
            yield Finding(name, Verdict.UNKNOWN, "Not looked at without the configuration.", "See configuration.")
        except Exception as error:  # noqa: BLE001 - a doctor who stops at the first surprise is of no use
            said = f"The check itself failed ({type(error).__name__})."
            yield Finding(name, Verdict.UNKNOWN, said, "Report it.")


def report(findings: list[Finding], now: datetime.datetime, version: str) -> Report:
    """Return the report of a run."""
    at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    return Report(FORMAT, at, version, os.geteuid(), worst(findings), findings)
