"""Checks of the way to the centre, and of the clock against the centre's."""

from __future__ import annotations

from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings

CLOCK_WARN_S = 5.0
CLOCK_FAIL_S = 120.0  # certificates and lists of revoked ones are judged by the clock

SYNCHRONISE = "Set up time synchronisation: timedatectl set-ntp true."

# Where the way ended → what that means, what to do.
STEPS = {
    "dns": ("The centre's name {host} has no address.", "Check the name in central.address, and the machine's DNS."),
    "refused": ("Nobody listens at {address}.", "Check central.address; else the centre's operator must act."),
    "unreachable": ("There is no way to {address}.", "Check cable, route and firewall."),
    "deadline": ("{address} does not answer in time.", "Check the firewall; else the centre's operator must act."),
    "tls": (
        "The centre's certificate is not accepted: {detail}.",
        "Get the centre's current authority; check central.server_name; never go on with another centre.",
    ),
    "not_accepted": (
        "The centre ends the connection on seeing this kiosk's certificate.",
        "Have the centre issue a new one: centrald kiosk renew.",
    ),
    "denied": (
        "The centre does not serve this kiosk's certificate.",
        "Ask the centre's operator: centrald kiosk list.",
    ),
    "unavailable": ("The centre is there and cannot serve: {detail}.", "Wait; the centre's operator must act."),
    "not_enabled": (
        "The centre has this kiosk, its store or its chain disabled.",
        "Ask the centre's operator: centrald kiosk enable, store enable, chain enable.",
    ),
}


def centre(evidence: Evidence) -> Finding:
    """The way to the centre, and where it ends: name, connection, its certificate, ours, and whether we are enabled."""
    findings = Findings("centre")
    settings = evidence.settings
    found = evidence.way
    findings.facts |= {"address": settings.central_address, "word": found.word, "detail": found.detail}
    match found.word:
        case "open":
            findings.ok("The centre serves this kiosk.")
        case "out_of_hours" | "maintenance":
            findings.ok(f"The centre serves this kiosk; just now no attempt begins ({found.word.replace('_', ' ')}).")
        case "files":
            findings.unknown(f"The way was not gone: {found.detail}.", "See certificates.")
        case "hidden":
            _as_the_daemon_says(findings, evidence)
        case word:
            said, remedy = STEPS[word]
            host = settings.central_address.rpartition(":")[0]
            findings.fail(said.format(host=host, address=settings.central_address, detail=found.detail), remedy)
    return findings.finding()


def _as_the_daemon_says(findings: Findings, evidence: Evidence) -> None:
    """Judge what only the daemon can tell a user who may not use its key."""
    status = evidence.status
    if status is None:
        findings.unknown(
            "The centre is there with a good certificate; whether it serves this kiosk is not seen without the key.",
            "Run this as root.",
        )
    elif status.central_detail:
        findings.fail(
            f"The centre is there, and the daemon cannot use it: {status.central_detail}.",
            "Run this as root to tell the causes apart.",
        )
    else:
        findings.ok("The centre is there, shows a good certificate, and serves the daemon.")


def clock(evidence: Evidence) -> Finding:
    """The clock against the centre's, asked now or as the daemon last heard: warns above 5 s, fails above 120."""
    findings = Findings("clock")
    skew, source = evidence.way.skew_s, "asked now"
    if skew is None:
        skew, source = evidence.metrics.get("gatewayd_clock_skew_seconds"), "as the daemon last heard"
    if skew is None:
        findings.unknown("The centre's time could not be had.", "See the check centre.")
        return findings.finding()
    findings.facts |= {"skew_seconds": round(skew, 3), "source": source}
    where = "behind" if skew > 0 else "ahead of"
    if abs(skew) > CLOCK_FAIL_S:
        findings.fail(f"This clock is {abs(skew):.1f} s {where} the centre's.", SYNCHRONISE)
    elif abs(skew) > CLOCK_WARN_S:
        findings.warn(f"This clock is {abs(skew):.1f} s {where} the centre's.", SYNCHRONISE)
    else:
        findings.ok(f"This clock is {abs(skew):.1f} s {where} the centre's ({source}).")
    return findings.finding()
