"""The launcher of the kiosk's browser, under the compositor of its unit, on a panel that is memory."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.rig.process import ROOT, wait_until
from tests.rig.screen import KioskScreen

BROWSER = ROOT / "systemd/kiosk/browser"
SECONDS = 25.0
# What the unit starts; the browser's own sandbox is off as in all tests, and it can be asked what it shows.
COMMAND = ("cage", "-d", "--", BROWSER, "--no-sandbox", "--remote-debugging-port=0")
PANEL = {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
HOST = "127.0.0.1"
SIZE = [1280, 720]  # of wlroots' headless output


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The browser's directory, its own, for cage refuses to be root; its user could not reach one of pytest's."""
    with tempfile.TemporaryDirectory(prefix="kiosk-") as directory:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        yield Path(directory)


@contextlib.contextmanager
def launched(address: str, runtime: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The unit's command, as an unprivileged user, until the end of the context."""
    user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()
    places = {"RUNTIME_DIRECTORY": str(runtime), "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*user, *COMMAND, f"{address}/"],
            env={"PATH": os.environ["PATH"]} | PANEL | places,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as running,
    ):
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def port(runtime: Path) -> str:
    """Where the browser can be asked what it shows; empty until it says so."""
    told = runtime / "profile/DevToolsActivePort"
    return told.read_text().partition("\n")[0] if told.is_file() else ""


def opened(endpoint: str) -> bool:
    """Whether the browser's page has its title: Playwright may wait for ever when it joins before."""
    with urllib.request.urlopen(f"{endpoint}/json/list", timeout=SECONDS) as answer:
        titles = [target["title"] for target in json.load(answer) if target["type"] == "page"]
    return any(title and HOST not in title for title in titles)  # until then it is empty, or the address


def shown(page: Page) -> tuple[str, list[int], bool]:
    """The screen's name, the page's size, and whether it has the whole panel."""
    found: tuple[str, list[int], bool] = tuple(
        page.evaluate(
            "[document.querySelector('#screen').dataset.name, [innerWidth, innerHeight],"
            " matchMedia('(display-mode: fullscreen)').matches]"
        )
    )
    return found


def test_browser_shows_the_screen_on_the_whole_panel_and_keeps_nothing(tmp_path: Path, runtime: Path) -> None:
    """And the compositor ends with it, so that the unit starts both anew."""
    log = tmp_path / "cage.log"
    old = runtime / "profile/of the one before"
    old.parent.mkdir()
    old.touch()
    if os.geteuid() == 0:
        os.chown(old.parent, pwd.getpwnam("nobody").pw_uid, -1)
    screen = KioskScreen(tmp_path / "none.sock", state=tmp_path / "state", log=tmp_path / "log", panel="1280x800")
    screen.start()
    try:
        with launched(screen.address, runtime, log) as running, sync_playwright() as playwright:
            wait_until(lambda: port(runtime) or running.poll() is not None, SECONDS, "the browser")
            assert running.poll() is None, log.read_text()
            assert not old.exists()
            endpoint = f"http://{HOST}:{port(runtime)}"
            wait_until(lambda: opened(endpoint), SECONDS, "the page")
            browser = playwright.chromium.connect_over_cdp(endpoint, timeout=SECONDS * 1000)
            (page,) = browser.contexts[0].pages
            page.wait_for_selector("#screen[data-name=daemon_down]")
            assert shown(page) == ("daemon_down", SIZE, True)
            histories = [file.read_bytes() for file in (runtime / "profile").glob("*/History*")]
            assert not [history for history in histories if screen.address.encode() in history]
            browser.new_browser_cdp_session().send("Browser.close")
            assert running.wait(SECONDS) == 0, log.read_text()
    finally:
        screen.close()
