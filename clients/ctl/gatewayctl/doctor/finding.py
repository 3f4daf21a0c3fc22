"""What a check found, and the whole report: the form of `--json`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from gatewayctl.exits import ExitCode

FORMAT = 1  # grows when a field changes its meaning or goes

Fact = str | int | float | bool | None | list[str]


class Verdict(Enum):
    """How a check ended."""

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
_BADNESS = list(Verdict)  # the harmless one first


def _field(said: str) -> msgspec.Meta:
    return msgspec.Meta(description=said)


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: Annotated[str, _field("The check's name; it stays.")]
    verdict: Verdict
    summary: Annotated[str, _field("One sentence or several, for people; may change.")]
    remedy: Annotated[str, _field("What to do; empty when there is nothing to do.")] = ""
    facts: Annotated[dict[str, Fact], _field("What was seen, by name; never a secret. More may come.")] = {}


class Report(msgspec.Struct, frozen=True, tag_field="event", tag="doctor"):
    """One run of the doctor."""

    format: Annotated[int, _field("Grows when a field changes its meaning or goes; 1 now.")]
    at: Annotated[str, _field("RFC 3339, by this machine's clock.")]
    version: Annotated[str, _field("Of gatewayctl.")]
    uid: Annotated[int, _field("Who looked; 0 sees all.")]
    worst: Verdict
    findings: Annotated[list[Finding], _field("One for each check, always in the same order.")]


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
        summary = " ".join(dict.fromkeys(summary for _, summary, _ in sentences))
        remedy = " ".join(dict.fromkeys(remedy for _, _, remedy in sentences if remedy))
        return Finding(self._check, verdict, summary, remedy, self.facts)
