"""A person before the kiosk's screen: presses, types, places a card, and reads what the screen says."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from playwright.sync_api import Page

import jpki_kiosk
from tests.rig.phone import reserve_from_file
from tests.rig.process import wait_until
from tests.rig.screen import KioskScreen
from tests.rig.site import LOCKED
from tests.rig.stack import Stack

USER_PIN, NEW_PASSWORD = "1357", "SAKURA2026KAIJOU"
SECONDS = 20.0
LEAPT = json.dumps({"event": "leapt"})
CODES = Path(jpki_kiosk.__file__).parent / "templates/_codes.html"
LOOK = """() => {
  const screen = document.querySelector("#screen");
  const seen = (one) => one.checkVisibility({ visibilityProperty: true });
  const text = (selector) => [...screen.querySelectorAll(selector)].filter(seen)
    .map((one) => one.textContent.replace(/\\s+/g, " ").trim()).join(" / ");
  const part = screen.querySelector("[data-panel]:not([hidden])")?.dataset.panel ?? "";
  const stage = screen.querySelector(".frame").className.match(/stage([1-3])/)?.[1] ?? "";
  return [screen.dataset.name, text(".code"), part, stage, text("h1"), text(".alert")];
}"""
TO_TERMS = {"touch": "services", "reset": "procedure", "signing-password": "checklist", "ready": "terms"}


class Look(NamedTuple):
    """A screen, as far as another one of the same name may look different."""

    name: str
    code: str
    part: str  # of the password's page
    stage: str  # of the reminder of the card
    title: str
    alerts: str


def codes() -> Mapping[str, str]:
    """The short code in the corner of a screen, by the screen's name or the reason's."""
    return dict(re.findall(r'"(\w+)": "([A-Z]\d\d)"', CODES.read_text(encoding="utf-8")))


class Visitor:
    """One person, one card, one screen. Presses are touches of the glass, or keys of a keyboard when `by_keys`."""

    def __init__(self, page: Page, stack: Stack, screen: KioskScreen, card: str = LOCKED) -> None:
        self.page = page
        self.stack = stack
        self.screen = screen
        self.sim = stack.cardsim
        self.card = card
        self.by_keys = False
        self.presses = 0  # besides keys of a pad
        self.seen: Callable[[Visitor], None] = lambda _: None  # told of every screen waited for
        self.expected: tuple[str, ...] = ()  # words of what the page may write into its console
        self.codes = codes()

    # --- the page -----------------------------------------------------------------------------------------------------

    def come(self) -> None:
        """Stand before the screen."""
        self.page.goto(self.screen.address)
        self.page.wait_for_selector("#screen[data-name]")

    @property
    def name(self) -> str:
        """Which screen is shown."""
        return self.page.locator("#screen").get_attribute("data-name") or ""

    @property
    def code(self) -> str:
        """The code in its corner."""
        return self.page.locator("#screen .code").inner_text()

    @property
    def look(self) -> Look:
        """What tells this screen from others."""
        return Look(*self.page.evaluate(LOOK))

    @property
    def text(self) -> str:
        """What can be read."""
        return self.page.locator("#screen").inner_text()

    def at(self, *names: str) -> str:
        """Wait until one of these screens takes presses, and return its name."""
        wanted = ",".join(f'#screen[data-name="{name}"]:not([inert])' for name in names)
        self.page.wait_for_selector(wanted, timeout=SECONDS * 1000)
        name = self.name
        self.seen(self)
        return name

    def glimpse(self, *names: str) -> None:
        """Wait until one of these screens is shown, pressable or not."""
        self.page.wait_for_selector(",".join(f'#screen[data-name="{name}"]' for name in names))

    def told(self, reason: str, *names: str) -> None:
        """Wait until an ending tells this reason (or "done")."""
        code = "D00" if reason == "done" else self.codes[reason]
        self.at(*(names or ("outcome", "take_card", "end")))
        wait_until(lambda: self.code == code, SECONDS, f"{reason}, not {self.code} on {self.name}")

    def press(self, name: str) -> None:
        """Press a button by its name."""
        self.push(f'#screen [data-press="{name}"]:visible')

    def push(self, selector: str) -> None:
        """Press what a selector finds first, on the glass or on the keyboard."""
        self.presses += 1
        button = self.page.locator(selector).first
        if self.by_keys:
            self.focus(selector)
            self.page.keyboard.press("Enter")
        else:
            button.tap()

    def focus(self, selector: str) -> None:
        """Walk with the tab key until it has the focus."""
        wanted = self.page.locator(selector).first
        for _ in range(80):
            if wanted.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{selector} cannot be reached with the tab key on {self.name}")

    def type(self, word: str) -> None:
        """Type on the visible pad, or on the keyboard."""
        if self.by_keys:
            self.page.keyboard.type(word)
            return
        for letter in word:
            self.page.locator(f'#screen [data-key="{letter}"]:visible').tap()

    def before(self, page: Page) -> Visitor:
        """The same person before another page of the same address."""
        other = Visitor(page, self.stack, self.screen, self.card)
        other.seen = self.seen
        page.goto(self.screen.address)
        return other

    # --- steps --------------------------------------------------------------------------------------------------------

    def to_terms(self) -> None:
        """Go to the terms."""
        self.at("idle")
        for press, name in TO_TERMS.items():
            self.press(press)
            self.at(name)

    def agree(self) -> None:
        """Accept the terms; the card is asked for."""
        self.to_terms()
        self.press("agree")
        self.at("place_card")

    def place(self, card: str | None = None) -> None:
        """Put a card on the reader."""
        self.sim.insert(card or self.card)

    def lift(self) -> None:
        """Take the card."""
        self.sim.remove()

    def to_pin(self, card: str | None = None) -> None:
        """Place the card; the PIN is asked for."""
        self.agree()
        self.place(card)
        self.at("user_pin", "user_pin_last_try")

    def enter_pin(self, pin: str = USER_PIN) -> None:
        """Enter a PIN."""
        self.type(pin)
        self.confirm()

    def confirm(self) -> None:
        """Press what confirms or goes on, in the visible panel."""
        self.presses += 1
        if self.by_keys:
            self.page.keyboard.press("Enter")
        else:
            self.page.locator("#screen :is([data-confirm], [data-next]):visible").tap()

    def to_password(self, card: str | None = None) -> None:
        """Enter the right PIN; the new password is asked for."""
        self.to_pin(card)
        self.enter_pin()
        self.at("new_password")

    def choose(self, password: str = NEW_PASSWORD) -> None:
        """Enter a new password twice, and confirm it."""
        for panel in ("new", "again"):
            self.panel(panel)
            self.type(password)
            self.confirm()
        self.panel("confirm")
        self.confirm()

    def panel(self, name: str) -> None:
        """Wait until a part of the password's page takes presses."""
        self.page.wait_for_selector(f'#screen:not([inert]) [data-panel="{name}"]:visible')
        self.seen(self)

    def reset(self, card: str | None = None, password: str = NEW_PASSWORD) -> None:
        """Go through a whole reset, until the card may be taken."""
        self.reserve(card)
        self.to_password(card)
        self.choose(password)
        self.told("done")

    def leave(self) -> None:
        """Take the card; the screen tells the end and is idle again."""
        self.lift()
        self.at("end")
        self.press("finish")
        self.at("idle")

    # --- around it ----------------------------------------------------------------------------------------------------

    def reserve(self, card: str | None = None) -> str:
        """Reserve at home, and return the reservation's id."""
        centrald = self.stack.centrald
        file = self.stack.site.card(card or self.card)
        return reserve_from_file(file, centrald.phone_address, centrald.authority)

    def status(self) -> gateway.Status | None:
        """Return the daemon's status; None while it does not answer."""
        with grpc.insecure_channel(f"unix:{self.stack.gatewayd.socket}") as channel, contextlib.suppress(grpc.RpcError):
            return GatewayServiceStub(channel).GetStatus(gateway.GetStatusRequest(), timeout=2).status
        return None

    def until_status(self, wanted: Callable[[gateway.Status], object]) -> None:
        """Wait until the daemon's status is wanted."""

        def is_wanted() -> bool:
            status = self.status()
            return bool(status and wanted(status))

        wait_until(is_wanted, SECONDS, "the daemon's status")

    def leap(self) -> None:
        """Let two minutes pass for the daemon."""
        self.stack.gatewayd.signal(signal.SIGUSR1)

    def screen_leaps(self, *, without_page: bool = False) -> None:
        """Let a minute pass for the screen's server, in which no page beats or in which one does."""
        process = self.screen.process
        before = process.output().count(LEAPT)
        process.signal(signal.SIGUSR2 if without_page else signal.SIGUSR1)
        wait_until(lambda: process.output().count(LEAPT) > before, SECONDS, "the screen's leap")

    @contextlib.contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """A part that is silent while the context lasts."""
        process = getattr(self.stack, part)
        process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.signal(signal.SIGCONT)
