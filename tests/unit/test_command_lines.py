"""What holds for every command line: it knows its version, its help is whole, and a full disk is no traceback."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import cardsim.cli
import centrald.cli.main
import gatewayctl.cli
import gatewayctl.doctor.examination
import jpki_kiosk.cli
import jpki_phone.cli
from gatewayctl.exits import ExitCode
from tests.rig.process import BIN, run

SECONDS = 20
PROGRAMS = ("gatewayd", "gatewayctl", "jpki-phone", "jpki-kiosk", "centrald", "cardsim")
APPS: dict[str, typer.Typer] = {
    "gatewayctl": gatewayctl.cli.app,
    "jpki-phone": jpki_phone.cli.app,
    "jpki-kiosk": jpki_kiosk.cli.app,
    "centrald": centrald.cli.main.app,
    "cardsim": cardsim.cli.app,
}


def commands(command: object, *above: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command below this one, and its own."""
    yield above
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *above, name)


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_knows_its_version(program: str) -> None:
    assert run([BIN / program, "--version"]) == f"{program} 0.1.0\n"


@pytest.mark.parametrize("program", APPS)
def test_every_command_has_a_help_that_is_whole(program: str) -> None:
    app = APPS[program]
    for words in commands(typer.main.get_command(app)):
        result = CliRunner().invoke(app, [*words, "--help"], prog_name=program, env={"COLUMNS": "80"})
        assert result.exit_code == 0, result.output
        assert "Usage: " in result.output
        assert not [
            line for line in result.output.splitlines() if line.rstrip(" │").endswith("...") and "Usage" not in line
        ], words
    overview = CliRunner().invoke(app, ["--help"]).output
    assert "Exit codes" in overview


@pytest.mark.parametrize("program", [name for name in APPS if name != "jpki-kiosk"])  # which needs none
def test_without_a_command_the_help_is_shown(program: str) -> None:
    result = CliRunner().invoke(APPS[program], [])
    assert result.exit_code == ExitCode.USAGE
    assert "Usage: " in result.output


@pytest.mark.parametrize("program", APPS)
def test_a_full_disk_is_told(program: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [BIN / program, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
        )
    assert ended.returncode not in (0, ExitCode.USAGE)
    assert ended.stderr.startswith(f"{program}: ")
    assert "No space left on device" in ended.stderr
    assert "Errno" not in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "words", "why", "then"),
    [
        ("nobody.sock", ("status",), "No such file or directory", "`systemctl status gatewayd`"),
        ("nobody.sock", ("reset", "--json"), "No such file or directory", "Nothing was begun."),
        ("left.sock", ("attempts", "--json"), "Connection refused", "`systemctl status gatewayd`"),
        ("x" * 108, ("status",), "AF_UNIX path too long", "`gatewayctl doctor`"),
    ],
)
def test_a_missing_daemon_is_told(tmp_path: Path, name: str, words: tuple[str, ...], why: str, then: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))  # and nobody listens
    where = tmp_path / name
    ended = subprocess.run(
        [BIN / "gatewayctl", "--socket", where, "--operators-socket", where, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (ExitCode.BROKEN_CALL, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"No answer from the daemon at {where}: {why}. ")
    assert then in line


def test_a_doctor_that_is_interrupted_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(gatewayctl.doctor.examination, "examine", interrupted)
    result = CliRunner().invoke(APPS["gatewayctl"], ["doctor"])
    assert (result.exit_code, result.output) == (ExitCode.LEFT, "")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "/usr/share/gatewayd"), (b"x = [", "not TOML: "), (b"\xff", "not TOML: ")]
)
def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "gatewayd.toml"
    if content is not None:
        path.write_bytes(content)
    ended = subprocess.run(
        [BIN / "gatewayd", "--config", path, "--check"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.startswith(f"gatewayd: {path}: ")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
