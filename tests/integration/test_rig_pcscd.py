"""The private PC/SC service: several side by side, without privilege, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.parts import CardSimulator
from tests.rig.pcscd import KIOSK, PHONE, PrivatePcscd, sweep
from tests.rig.process import ROOT, RigError, run, wait_until
from tests.rig.site import Site

READERS = Path(sys.modules[PrivatePcscd.__module__].__file__ or "").with_name("readers.py")

OWNER = """
import time
from tests.rig.pcscd import PrivatePcscd
with PrivatePcscd() as pcscd:
    print(pcscd.pid, pcscd.directory, flush=True)
    time.sleep(30)
"""


def lists(pcscd: PrivatePcscd, *names: str) -> bool:
    try:
        run([sys.executable, READERS, *names], env=pcscd.environment)
    except RigError:
        return False
    return True


def has_ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()  # a zombie until the init process looks
    except FileNotFoundError:
        return True


def test_each_reader_has_its_own_name_and_port() -> None:
    with PrivatePcscd() as pcscd:
        assert [reader.name for reader in pcscd.readers.values()] == ["Kiosk 00 00", "Phone 00 00"]
        assert len({reader.port for reader in pcscd.readers.values()}) == 2


def test_two_services_live_side_by_side_and_leave_nothing() -> None:
    with PrivatePcscd(["First"]) as first, PrivatePcscd(["Second"]) as second:
        assert lists(first, "First 00 00")
        assert lists(second, "Second 00 00")
        assert not lists(second, "First 00 00")
        folders = [first.directory, second.directory]
        pids = [first.pid, second.pid]
    assert not any(folder.exists() for folder in folders)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_service_needs_no_privilege() -> None:
    with PrivatePcscd(as_nobody=os.geteuid() == 0) as pcscd:
        status = Path(f"/proc/{pcscd.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "\nUid:\t0\t" not in status
        assert lists(pcscd, "Kiosk 00 00", "Phone 00 00")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_service_returns_on_the_same_paths(number: signal.Signals) -> None:
    with PrivatePcscd() as pcscd:
        before = (pcscd.csock, dict(pcscd.readers))
        pcscd.kill(number)
        with pytest.raises(OSError, match=r"refused|No such file"), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(pcscd.csock))
        pcscd.resume()
        assert (pcscd.csock, dict(pcscd.readers)) == before
        assert lists(pcscd, "Kiosk 00 00", "Phone 00 00")


def test_taken_port_is_noticed_and_another_one_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as squatter, PrivatePcscd([PHONE]) as neighbour:
        squatter.bind(("0.0.0.0", 0))
        squatter.listen(1)
        taken = squatter.getsockname()[1]
        free = neighbour.readers[PHONE].port
        neighbour.close()
        answers = [[taken], [free]]
        monkeypatch.setattr("tests.rig.pcscd.free_port_pairs", lambda _count: answers.pop(0))
        with PrivatePcscd(["Kiosk"]) as pcscd:
            assert pcscd.readers["Kiosk"].port == free


def test_killed_owner_leaves_no_service_running_and_the_folder_is_swept() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        owner.kill()
    wait_until(lambda: has_ended(int(pid)), 5, "the orphaned service's end")
    os.utime(folder, (0, 0))
    sweep()
    assert not Path(folder).exists()


def test_readers_of_the_machine_are_left_alone() -> None:
    with PrivatePcscd(["Kiosk"]) as pcscd:
        maps = Path(f"/proc/{pcscd.pid}/maps").read_text()
        assert "libccid" not in maps
        assert f"{pcscd.directory}/Kiosk.so" in maps


WATCHER = """
import sys
import time
from smartcard.scard import *
code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
state = SCARD_STATE_UNAWARE
while True:
    code, [(name, state, atr)] = SCardGetStatusChange(context, 5000, [(sys.argv[1], state)])
    print("placed" if state & SCARD_STATE_PRESENT else "away", flush=True)
"""
ROUNDS = 10


def test_looks_at_once_when_told(tmp_path: Path, site: Site) -> None:
    with PrivatePcscd(looks_when_told=True) as pcscd:
        cards = CardSimulator(
            [site.copy(tmp_path / "site").card("locked")],
            pcscd.readers,
            control=pcscd.directory / "cardsim.sock",
            ledger=tmp_path / "ledger.jsonl",
            log=tmp_path / "cardsim.log",
            moved=pcscd.look,
        )
        command = [sys.executable, "-c", WATCHER, pcscd.readers[KIOSK].name]
        environment = {**os.environ, **pcscd.environment}
        with cards, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watcher:
            assert watcher.stdout
            assert watcher.stdout.readline() == "away\n"
            begun = time.monotonic()
            for _ in range(ROUNDS):
                cards.insert("locked")
                assert watcher.stdout.readline() == "placed\n"
                cards.remove()
                assert watcher.stdout.readline() == "away\n"
            seconds = time.monotonic() - begun
            watcher.kill()
    assert seconds < 0.4 * ROUNDS  # half of what the next look of its own accord would take each time
