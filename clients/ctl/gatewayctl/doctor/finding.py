"""What a check found, and the whole report: the form of `--json`."""

from __future__ import annotations

from enum import Enum

import msgspec

from gatewayctl.exits import ExitCode

FORMAT = 1  # grows when a field changes its meaning or goes

Fact = str | int | float | bool | None | list[str]


class Verdict(Enum):
    """How a check ended, the harmless one first."""

    OK = "ok"
    UNKNOWN = "unknown"  # could not be seen
    WARN = "warn"  # works, and will not for long, or not as it should
    FAIL = "fail"  # does not work, or betrays a secret

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a report whose worst finding this is."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Verdict.OK: ExitCode.DONE,
    Verdict.UNKNOWN: ExitCode.UNSEEN,
    Verdict.WARN: ExitCode.WARNED,
    Verdict.FAIL: ExitCode.FAILED,
}
_BADNESS = list(Verdict)


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str  # its name, a word that stays
    verdict: Verdict
    summary: str  # one sentence for people
    remedy: str = ""  # what to do, one sentence; empty when there is nothing to do
    facts: dict[str, Fact] = {}  # what was seen, by name; never a secret


class Report(msgspec.Struct, frozen=True, tag_field="event", tag="doctor"):
    """One run of the doctor."""

    format: int
    at: str  # RFC 3339, by this machine's clock
    version: str  # of gatewayctl
    uid: int  # who looked; 0 sees all
    worst: Verdict
    findings: list[Finding]


def worst(findings: list[Finding]) -> Verdict:
    """Return the worst verdict; ok when there is none."""
    return max((finding.verdict for finding in findings), key=_BADNESS.index, default=Verdict.OK)


class Findings:
    """What one check has to say, collected: its worst part is what it says."""

    def __init__(self, check: str) -> None:
        self._check = check
        self._said: list[tuple[Verdict, str, str]] = []
        self.facts: dict[str, Fact] = {}

    def ok(self, summary: str) -> None:
        """Note what is in order."""
        self._said.append((Verdict.OK, summary, ""))

    def unknown(self, summary: str, remedy: str) -> None:
        """Note what could not be seen."""
        self._said.append((Verdict.UNKNOWN, summary, remedy))

    def warn(self, summary: str, remedy: str) -> None:
        """Note what will not go well for long."""
        self._said.append((Verdict.WARN, summary, remedy))

    def fail(self, summary: str, remedy: str) -> None:
        """Note what is broken."""
        self._said.append((Verdict.FAIL, summary, remedy))

    def finding(self) -> Finding:
        """Return all that is as bad as the worst of it, as one finding."""
        verdict = max((said[0] for said in self._said), key=_BADNESS.index)
        sentences = [said for said in self._said if said[0] is verdict]
        summary = " ".join(summary for _, summary, _ in sentences)
        remedy = " ".join(dict.fromkeys(remedy for _, _, remedy in sentences if remedy))
        return Finding(self._check, verdict, summary, remedy, self.facts)
