"""The units as they are, without a system that runs them; tests/system/test_package.py boots one."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.rig.process import ROOT, run

UNITS = ROOT / "systemd"
DAEMON = UNITS / "gatewayd.service"
SECONDS_OF_A_STOP = 35.0  # of the daemon's own; the manager's limit must be above


def exposure(unit: str) -> float:
    """Return what `systemd-analyze security` says of a unit, from 0 (good) to 10."""
    said = run(["systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / unit])
    last = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert last, said
    return float(last[1])


def setting(name: str) -> list[str]:
    """Return the values of a setting of the daemon's unit, in order."""
    return re.findall(rf"^{name}=(.*)$", DAEMON.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(("unit", "limit"), [("gatewayd.service", 1.2), ("gatewayd-pcscd-restart.service", 2.0)])
def test_exposure(unit: str, limit: float) -> None:
    level = exposure(unit)
    print(f"{unit}: exposure {level}")
    assert level <= limit


def test_the_manager_understands_every_line() -> None:
    """Of what it complains about, only that the program is not installed on this machine may remain."""
    units = [*UNITS.glob("*.service"), *UNITS.glob("*.path")]
    command = ["systemd-analyze", "verify", *(str(unit) for unit in units)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr
    assert [line for line in said.splitlines() if "Command /usr/bin/gatewayd is not executable" not in line] == []


def test_it_is_never_given_up() -> None:
    assert setting("Restart") == ["always"]
    assert setting("StartLimitIntervalSec") == ["0"]
    assert setting("RestartPreventExitStatus") == []


def test_a_stop_is_given_more_time_than_it_takes() -> None:
    (limit,) = setting("TimeoutStopSec")
    assert float(limit.removesuffix("s")) > SECONDS_OF_A_STOP


def test_what_the_citizen_typed_is_written_nowhere() -> None:
    """Neither by the kernel nor by a program of wider rights that the daemon could become."""
    assert setting("LimitCORE") == ["0"]
    assert setting("MemorySwapMax") == ["0"]
    assert setting("UMask") == ["0077"]
    assert setting("NoNewPrivileges") == ["yes"]
    assert setting("CapabilityBoundingSet") == [""]


def test_the_group_of_each_socket_is_made() -> None:
    made = set(re.findall(r"^g (\S+)", (UNITS / "gatewayd.sysusers").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r'^group = "(.+)"', (UNITS / "gatewayd.toml").read_text(), flags=re.MULTILINE))
    assert made == named
