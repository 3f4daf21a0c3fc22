"""The units of the kiosk's screen as systemd reads them, and the browser's policy as Chromium does."""

from __future__ import annotations

import functools
import http.server
import json
import mmap
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jpki_kiosk.config import load
from tests.rig.process import ROOT, run

FOLDER = ROOT / "systemd/kiosk"
UNITS = ("jpki-kiosk.service", "jpki-screen.service")
EXPOSURE = {"jpki-kiosk.service": 1.2, "jpki-screen.service": 2.7}  # systemd-analyze security, 0 (none) to 10
CHROMIUM = Path("/usr/lib/chromium/chromium")
ADDRESS = "127.0.0.1:8180"
LOOKS_INSIDE = ("RemoteDebuggingAllowed", "DeveloperToolsAvailability")  # would blind the test itself
DUMP = "timeout 30 chromium --headless --no-sandbox --disable-gpu --user-data-dir={profile} --dump-dom {url}"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


@needs_systemd
def test_units_are_well_formed(tmp_path: Path) -> None:
    """In a root directory of their own, where what they start exists."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in UNITS:
        shutil.copy(FOLDER / name, units)
        for program in re.findall(r"^Exec\w+=-?(/\S+)", (FOLDER / name).read_text(), re.MULTILINE):
            path = tmp_path / program.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o755)
    (units / "gatewayd.service").write_text("[Service]\nExecStart=/usr/bin/jpki-kiosk\n")
    words = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=no", *UNITS]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_units_are_hardened(name: str) -> None:
    text = run(["systemd-analyze", "security", "--offline=true", "--no-pager", FOLDER / name])
    exposure = re.search(r"exposure level for .*: ([\d.]+)", text)
    assert exposure
    assert float(exposure[1]) <= EXPOSURE[name]


def test_the_server_may_connect_to_the_daemon_and_the_browser_may_not() -> None:
    theirs = (ROOT / "systemd/gatewayd.sysusers").read_text()
    ours = (FOLDER / "jpki-kiosk.sysusers").read_text()
    (group,) = re.findall(r"^m jpki-kiosk\s+(\S+)$", ours, re.MULTILINE)
    assert re.search(rf"^g {group}\s", theirs, re.MULTILINE)
    others = set(re.findall(r"^m jpki-screen\s+(\S+)$", ours, re.MULTILINE))
    assert not others & set(re.findall(r"^g (\S+)", theirs, re.MULTILINE))


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd here")
def test_both_users_are_made(tmp_path: Path) -> None:
    """It goes on after a line it cannot take, so what it says is what counts."""
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", FOLDER / "jpki-kiosk.sysusers"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if not line.startswith("Creating ")] == []
    users = [line.partition(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert set(users) == {"jpki-kiosk", "jpki-screen"}


def test_one_address_everywhere() -> None:
    """The server's default, its example, what the browser is sent to, and what it may see."""
    example = load(FOLDER / "jpki-kiosk.toml")
    assert example == load(None)
    assert example.listen == ADDRESS
    assert f" http://{ADDRESS}/\n" in (FOLDER / "jpki-screen.service").read_text()
    assert json.loads((FOLDER / "policy.json").read_text())["URLAllowlist"] == [f"http://{ADDRESS}"]
    assert f"SocketBindAllow=tcp:{example.port}\n" in (FOLDER / "jpki-kiosk.service").read_text()


def test_chromium_knows_every_policy_and_flag() -> None:
    """Both are words of the program; one that is misspelt or no longer there would do nothing, and nobody would see."""
    flags = re.findall(r" --([a-z-]+)", (FOLDER / "browser").read_text())
    with CHROMIUM.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        words = [*json.loads((FOLDER / "policy.json").read_text()), *flags]
        assert [word for word in words if program.find(b"\0" + word.encode() + b"\0") < 0] == []


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A page somewhere."""
    (tmp_path / "index.html").write_text("<p>the one page</p>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="a private view of /etc needs root")
@pytest.mark.parametrize("allowed", [True, False])
def test_the_browser_sees_one_address_only(tmp_path: Path, address: str, allowed: bool) -> None:
    policy = json.loads((FOLDER / "policy.json").read_text())
    for name in LOOKS_INSIDE:
        del policy[name]
    if allowed:
        policy["URLAllowlist"] = [f"http://{address}"]
    managed = tmp_path / "chromium/policies/managed"
    managed.mkdir(parents=True)
    (managed / "jpki-kiosk.json").write_text(json.dumps(policy))
    dump = DUMP.format(profile=tmp_path / "profile", url=f"http://{address}/")
    script = f"mount --bind {tmp_path / 'chromium'} /etc/chromium && {dump}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert ("the one page" in done.stdout) is allowed
