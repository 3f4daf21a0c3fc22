"""Programs of the rig: readiness with a deadline, an orderly end, and none that outlives its parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.process import ROOT, Process, RigError, run, wait_until

SERVER = """
import json, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("a line that is no JSON", flush=True)
print(json.dumps({"event": "serving", "port": 7}), flush=True)
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"event": "up"}', flush=True)
signal.pause()
"""
PARENT = '''
import sys, time
from pathlib import Path
from tests.rig.process import Process
child = Process("child", ["sh", "-c", """echo '{"event": "up"}'; exec sleep 30"""], log=Path(sys.argv[1]))
child.wait_for_event("up")
print(child.pid, flush=True)
time.sleep(30)
'''


def program(source: str, tmp_path: Path) -> Process:
    return Process("program", [sys.executable, "-c", source], log=tmp_path / "program.log")


def test_program_is_ready_with_its_event_and_ends_when_asked(tmp_path: Path) -> None:
    process = program(SERVER, tmp_path)
    assert process.wait_for_event("serving") == {"event": "serving", "port": 7}
    assert process.stop() == 0
    assert not process.running


def test_event_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    with program(SERVER, tmp_path) as first:
        first.wait_for_event("serving")
    with program("", tmp_path) as second, pytest.raises(RigError, match="ended with 0"):
        second.wait_for_event("serving")


def test_early_end_is_told_with_the_last_lines(tmp_path: Path) -> None:
    process = program("raise SystemExit('no such file')", tmp_path)
    with pytest.raises(RigError, match=r"ended with 1(.|\n)*no such file"):
        process.wait_for_event("serving")


def test_silence_is_an_error_in_time(tmp_path: Path) -> None:
    with program(SERVER, tmp_path) as process:
        process.wait_for_event("serving")
        with pytest.raises(RigError, match=r"event 'other': not within 0.1 s"):
            process.wait_for_event("other", 0.1)


def test_program_that_does_not_end_is_killed_and_told(tmp_path: Path) -> None:
    process = program(STUBBORN, tmp_path)
    process.wait_for_event("up")
    with pytest.raises(RigError, match="still runs"):
        process.stop(0.1)
    assert not process.running


def test_frozen_program_can_be_stopped(tmp_path: Path) -> None:
    process = program(SERVER, tmp_path)
    process.wait_for_event("serving")
    process.signal(signal.SIGSTOP)
    assert process.stop() == 0


def test_program_does_not_outlive_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: ended(child), 5, "the child's end")


def ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()  # a zombie until the init process looks
    except FileNotFoundError:
        return True


def test_command_that_fails_is_told_with_its_output() -> None:
    with pytest.raises(RigError, match=r"exit code 3\nout\nerr"):
        run(["sh", "-c", "echo out; echo err >&2; exit 3"])


def test_command_has_a_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(RigError, match=r"not within 0.1 s"):
        run(["sleep", "5"], seconds=0.1)
    assert time.monotonic() - began < 2
