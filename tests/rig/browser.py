"""Debian's Chromium, driven by Playwright: a touch panel whose profile can be searched."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

PROGRAM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
SECONDS = 20.0
# Pixels of each panel, and pixels to a millimetre: it is known by its size, not by what a browser believes.
PANELS = {"1024x768": 1024 / 211, "1280x800": 1280 / 217, "1080x1920": 1080 / 268}


def pixels(panel: str) -> tuple[int, int]:
    """Width and height of a panel."""
    width, height = panel.split("x")
    return int(width), int(height)


@dataclass
class Chromium:
    """A browser with a profile of its own."""

    context: BrowserContext
    profile: Path

    def page(self, panel: str = "1024x768") -> Page:
        """Open a page as large as a panel."""
        page = self.context.new_page()
        width, height = pixels(panel)
        page.set_viewport_size({"width": width, "height": height})
        return page


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """Run the browser while the context lasts: with a touch screen, in Japan, for somebody who wants no motion."""
    width, height = pixels("1024x768")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=PROGRAM,
            args=list(ARGUMENTS),
            headless=True,
            viewport={"width": width, "height": height},
            has_touch=True,
            locale="ja-JP",
            timezone_id="Asia/Tokyo",
            reduced_motion="reduce",
            chromium_sandbox=False,
        )
        context.set_default_timeout(SECONDS * 1000)
        try:
            yield Chromium(context, profile)
        finally:
            context.close()


@contextlib.contextmanager
def frozen(browser: Chromium) -> Iterator[None]:
    """Every page of the browser stands still while the context lasts."""
    renderers = list(_renderers(browser.profile))
    assert renderers
    for pid in renderers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in renderers:
            os.kill(pid, signal.SIGCONT)


def _renderers(profile: Path) -> Iterator[int]:
    """The processes that draw pages of a profile: they come from the browser, some by way of a zygote."""
    commands, parents = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            commands[int(process.name)] = (process / "cmdline").read_text().split("\0")
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    for pid in [pid for pid, words in commands.items() if "--type=renderer" in " ".join(words).split()]:
        above = pid
        while above in parents:
            above = parents[above]
            if f"--user-data-dir={profile}" in commands.get(above, ()):
                yield pid
                break
