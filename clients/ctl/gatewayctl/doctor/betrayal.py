"""Check of everything that would write commands to the card, and PINs with them, into a log."""

from __future__ import annotations

import getopt
import plistlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.parsers.expat import ExpatError

from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings, Verdict
from gatewayctl.doctor.units import GATEWAYD, PCSCD, assignments, lines_of

DEFAULTS_FILE = "etc/default/pcscd"  # EnvironmentFile of pcscd.service
DRIVER_SETTINGS = "etc/libccid_Info.plist"
LOGS_COMMANDS = 0x04  # CCID driver, ifdLogLevel: DEBUG_LEVEL_COMM

# pcscd's options, pcsc-lite src/pcscdaemon.c.
_SHORT = "c:fTdhvaieCHt:r:s:xSI"
_LONG = [
    *("config=", "foreground", "color", "help", "version", "apdu", "debug", "info", "error", "critical", "hotplug"),
    *("force-reader-polling", "max-thread=", "max-card-handle-per-thread=", "max-card-handle-per-reader="),
    *("auto-exit", "reader-name-no-serial", "reader-name-no-interface", "disable-polkit"),
]

# Variables that make a library print what passes through it, and in which process.
SPIES = {
    "LIBPCSCLITE_DELEGATE": "another library stands between program and pcscd",
    "LIBPCSCLITE_SPY_DELEGATE": "PC/SC's spy library is in use",
    "PCSCLITE_DEBUG": "libpcsclite writes a debug log",
    "MUSCLECARD_DEBUG": "libpcsclite writes a debug log",
    "GRPC_TRACE": "gRPC writes messages, PINs among them, to the log",
}

REMEDY = (
    "Take it out, restart pcscd and gatewayd, and wipe the logs written meanwhile "
    "(journalctl --rotate --vacuum-time=1s): they may hold PINs."
)


Told = tuple[Verdict, str]  # how bad it is, and what it is


def debug_modes(evidence: Evidence) -> Finding:
    """Whether pcscd, its driver or a library logs commands, PINs included: arguments, environments, units, driver."""
    findings = Findings("pcsc-debug")
    hidden: list[str] = []
    driver_logs = logs_commands(driver_level(evidence.root / DRIVER_SETTINGS))
    for process in evidence.pcscds:
        for what in telling_arguments(list(process.arguments[1:]), driver_logs=driver_logs):
            _note(findings, f"{process.shown} runs with", what)
    watched = [*evidence.pcscds, *([evidence.daemon] if evidence.daemon else [])]
    for process in watched:
        environment = process.environment
        if environment is None:
            hidden.append(process.shown)
            continue
        for what in telling_variables(environment):
            _note(findings, f"{process.shown} runs with", what)
    if "spy" in Path(evidence.pcsc.library).name:
        findings.fail(f"PC/SC's spy library {evidence.pcsc.library} is in the place of libpcsclite.", REMEDY)
    for path, what in told_by_units(evidence.root, driver_logs=driver_logs):
        _note(findings, f"{path} will start it with", what)
    findings.facts |= {"looked_at": [process.shown for process in watched], "environment_hidden": hidden}
    if hidden:
        findings.unknown(f"The environment of {', '.join(hidden)} cannot be seen by this user.", "Run this as root.")
    findings.ok("Nothing that is running or installed logs commands to the card.")
    return findings.finding()


def _note(findings: Findings, where: str, told: Told) -> None:
    verdict, what = told
    (findings.fail if verdict is Verdict.FAIL else findings.warn)(f"{where} {what}.", REMEDY)


def telling_arguments(arguments: list[str], *, driver_logs: bool) -> Iterator[Told]:
    """Yield the arguments of pcscd that make it tell too much."""
    try:
        options = [name for name, _ in getopt.gnu_getopt(arguments, _SHORT, _LONG)[0]]
    except getopt.GetoptError:  # a newer pcscd
        options = [argument for argument in arguments if argument.startswith("-")]
    if {"-a", "--apdu"} & set(options):
        yield Verdict.FAIL, "--apdu, which logs every command"
    if {"-d", "--debug"} & set(options):
        if driver_logs:
            yield Verdict.FAIL, "--debug, while the reader's driver is set to log commands"
        else:
            yield Verdict.WARN, "--debug, which is one setting of the driver away from logging commands"


def telling_variables(environment: Mapping[str, str]) -> Iterator[Told]:
    """Yield the variables by which a library logs what passes through it."""
    for name, why in SPIES.items():
        if environment.get(name):
            yield Verdict.FAIL, f"{name}: {why}"
    if "spy" in environment.get("LD_PRELOAD", ""):
        yield Verdict.FAIL, "LD_PRELOAD of a spy library"
    if logs_commands(environment.get("LIBCCID_ifdLogLevel", "")):
        yield Verdict.FAIL, "LIBCCID_ifdLogLevel: the reader's driver logs commands"


def told_by_units(root: Path, *, driver_logs: bool) -> Iterator[tuple[Path, Told]]:
    """Yield the files of systemd, and what they will set at the next start."""
    for path, key, value in lines_of(root, PCSCD):
        if key == "ExecStart":
            yield from ((path, what) for what in telling_arguments(value.split()[1:], driver_logs=driver_logs))
    for path, key, value in (*lines_of(root, PCSCD), *lines_of(root, GATEWAYD)):
        if key == "Environment":
            yield from ((path, what) for what in telling_variables(_variables(value)))
    where = root / DEFAULTS_FILE
    for key, quoted in assignments(where):
        value = quoted.strip("\"'")
        if key in ("PCSCD_ARGS", "DAEMON_ARGS"):
            yield from ((where, what) for what in telling_arguments(value.split(), driver_logs=driver_logs))
        else:
            yield from ((where, what) for what in telling_variables({key: value}))


def _variables(value: str) -> dict[str, str]:
    words = re.findall(r"\"([^\"]*)\"|'([^']*)'|(\S+)", value)
    pairs = ("".join(word).partition("=") for word in words)
    return {name: text for name, _, text in pairs}


def driver_level(path: Path) -> str:
    """Return the CCID driver's log level, empty when there is no such driver."""
    try:
        return str(plistlib.loads(path.read_bytes()).get("ifdLogLevel", ""))
    except (OSError, plistlib.InvalidFileException, ValueError, ExpatError):
        return ""


def logs_commands(level: str) -> bool:
    """Tell whether a log level of the CCID driver, as it is written, includes the bytes it sends."""
    try:
        return bool(int(level, 0) & LOGS_COMMANDS)
    except ValueError:
        return False
