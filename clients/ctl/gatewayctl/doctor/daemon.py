"""Checks of the configuration and of what the running daemon says of itself."""

from __future__ import annotations

import stat

from jpkireset.gateway.v1.gateway_service_pb2 import ReadinessProblem

from gatewayctl import texts
from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings
from gatewayctl.doctor.settings import Unreadable
from gatewayctl.report import name_of

WRITABLE_BY_MORE = 0o022


def configuration(evidence: Evidence) -> Finding:
    """The configuration file: readable, complete, and written by nobody but its owner."""
    findings = Findings("configuration")
    found = evidence.settings_or_why
    findings.facts["path"] = str(evidence.config)
    if isinstance(found, Unreadable):
        if found.hidden:
            findings.unknown(f"{found}", "Run this as root.")
        else:
            findings.fail(f"{found}", "Correct it, or name another file with --config.")
        return findings.finding()
    if found.wrong:
        findings.fail(
            f"{evidence.config}: {', '.join(found.wrong)} cannot be so; the daemon does not start with it.",
            "Correct it: systemd/gatewayd.toml has every key with its form.",
        )
    mode = stat.S_IMODE(evidence.config.stat().st_mode)
    if mode & WRITABLE_BY_MORE:
        findings.fail(f"Others than its owner may write to {evidence.config}.", f"chmod go-w {evidence.config}")
    findings.ok(f"{evidence.config} can be read and names all that is needed.")
    return findings.finding()


def daemon(evidence: Evidence) -> Finding:
    """Whether the daemon runs, answers and is ready, and what it could not settle yet."""
    findings = Findings("daemon")
    running, status = evidence.daemon, evidence.status
    findings.facts["pid"] = running.pid if running else None
    if status is None:
        if running is None:
            findings.fail(
                "gatewayd does not run.", "systemctl start gatewayd; journalctl --unit gatewayd says why it ended."
            )
        elif "Permission denied" in str(evidence.status_or_why):
            findings.unknown(
                "gatewayd runs, and this user may not ask it anything.",
                "Run this as root, or join the group of the operators' socket.",
            )
        else:
            findings.fail(
                f"gatewayd runs and does not answer ({evidence.status_or_why}).", "systemctl restart gatewayd"
            )
        return findings.finding()
    findings.facts |= {
        "version": status.version,
        "ready": status.ready,
        "problems": [name_of(ReadinessProblem, problem) for problem in status.problems],
        "unresolved": status.unresolved_attempts,
        "pending_reports": status.pending_reports,
    }
    if not status.ready:
        names = [name_of(ReadinessProblem, problem) for problem in status.problems]
        why = "; ".join(map(texts.readiness_problem, names))
        findings.warn(
            f"gatewayd answers and is not ready: {why}.", "The other checks tell causes; it clears by itself."
        )
    if status.unresolved_attempts:
        findings.warn(
            f"{status.unresolved_attempts} attempts are unresolved.",
            "gatewayctl attempts --unresolved; the same card, placed again at any kiosk, settles one.",
        )
    findings.ok(f"gatewayd {status.version} answers and is ready.")
    return findings.finding()
