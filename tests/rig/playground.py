"""What a developer can do to a running stack from the panel of `make kiosk`, as a table, and what there is to see."""

from __future__ import annotations

import datetime
import json
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from jpkireset.gateway.v1.reset_service_pb2 import State

from cardsim import persona as personas
from cardsim.control import ControlError, UnreachableError
from tests.rig.parts import Part
from tests.rig.phone import reserve
from tests.rig.process import BIN, RigError, run
from tests.rig.screen import KioskScreen
from tests.rig.site import KIOSK_ID
from tests.rig.stack import Stack

KIOSK, PHONE = "kiosk", "phone"
LEDGER_TAIL_BYTES = 16_384
LEDGER_LINES = 14
ENTRY = ("seq", "event", "card", "slot", "command", "apdu", "status")
NEWS = 8
STATUS_S = 0.5


@dataclass(frozen=True)
class Deed:
    """One button. `do` names a method of `Playground`, which is given the chosen card and the deed's own words."""

    group: str
    label: str
    hint: str
    do: str
    with_: tuple[str, ...] = ()


HOME, KIOSK_PLACE, CARD, MACHINES = "At home", "At the kiosk", "What the card will do", "What the machines do"
DEEDS = (
    Deed(HOME, "Reserve", "the phone makes the reservation with this card and its PIN; it lives 24 hours", "reserve"),
    Deed(HOME, "As issued", "every card back to how it was issued", "renew"),
    Deed(KIOSK_PLACE, "Place the card", "on the kiosk's reader; another card there is swapped", "place"),
    Deed(KIOSK_PLACE, "Take the card", "from the kiosk's reader", "take"),
    Deed(CARD, "Leave during the change", "the outcome is unknown", "fault", ("reset_retry_counter", "tear")),
    Deed(CARD, "Leave before the change", "the same card is asked for", "fault", ("external_authenticate", "tear")),
    Deed(CARD, "Leave at the PIN", "while it is checked", "fault", ("verify", "tear")),
    Deed(CARD, "Fall silent", "during the change", "fault", ("reset_retry_counter", "mute")),
    Deed(CARD, "Go on", "a silent card goes on where it stopped", "release"),
    Deed(CARD, "Refuse the change", "with 6985", "fault", ("reset_retry_counter", "status", "before_delivery", "6985")),
    Deed(CARD, "Answer nonsense", "when it is read", "fault", ("tries_left", "garbage")),
    Deed(CARD, "Behave", "forget all of these", "behave"),
    Deed(MACHINES, "Centre: stop or start", "the daemon sees it within seconds", "toggle", ("centrald",)),
    Deed(MACHINES, "Centre: freeze or thaw", "it is there and does not answer", "freeze"),
    Deed(MACHINES, "Centre: maintenance", "begins or ends; seen within half a minute", "maintain"),
    Deed(MACHINES, "Centre: this kiosk", "is disabled or enabled", "enable"),
    Deed(MACHINES, "pcscd: kill or start", "the reader is gone, and comes back", "pcscd"),
    Deed(MACHINES, "gatewayd: stop or start", "in order", "toggle", ("gatewayd",)),
    Deed(MACHINES, "gatewayd: kill", "as a power cut would; it is started again", "kill_daemon"),
    Deed(MACHINES, "Screen: restart", "jpki-kiosk; the page finds its attempt again", "restart_screen"),
)


class Playground:
    """Deeds are done on the main thread, one at a time; `seen` may be called from any."""

    def __init__(self, stack: Stack, screen: KioskScreen) -> None:
        self._stack = stack
        self._screen = screen
        self._news: deque[str] = deque(maxlen=NEWS)
        self._maintenance: int | None = None
        self._frozen = self._disabled = self._without_reader = False

    def do(self, label: str, card: str) -> None:
        """Do a deed with the chosen card, and tell what came of it. Raises KeyError for a deed there is not."""
        deed = {deed.label: deed for deed in DEEDS}[label]
        try:
            self._stack.add_card(card)
            text = getattr(self, f"_{deed.do}")(card, *deed.with_)
        except (RigError, ControlError, UnreachableError, OSError) as error:
            text = f"{label}: not possible. {str(error).splitlines()[-1].strip()}"
        self._news.appendleft(f"{datetime.datetime.now().astimezone():%H:%M:%S}  {text}")

    def _reserve(self, card: str) -> str:
        sim = self._stack.cardsim
        for one in sim.show_all():
            if one["slot"] == PHONE or (one["card"] == card and one["slot"]):
                sim.remove(one["slot"])
        sim.insert(card, PHONE)
        try:
            pin = sim.show(card)["references"]["user_pin"]["value"]
            return " ".join(reserve(self._stack.environment, pin).split())
        finally:
            sim.remove(PHONE)

    def _renew(self, _card: str) -> str:
        self._stack.renew_cards()
        return "all cards are as issued"

    def _place(self, card: str) -> str:
        slots = {one["slot"]: one["card"] for one in self._stack.cardsim.show_all() if one["slot"]}
        for slot in [slot for slot, there in slots.items() if slot == KIOSK or there == card]:
            self._stack.cardsim.remove(slot)
        self._stack.cardsim.insert(card, KIOSK)
        return f"{card} lies on the kiosk's reader"

    def _take(self, _card: str) -> str:
        self._stack.cardsim.remove(KIOSK)
        return "the reader is empty"

    def _fault(self, _card: str, at: str, kind: str, point: str = "after_effect", status: str = "") -> str:
        self._stack.cardsim.plan(at, kind, point, **({"status": status} if status else {}))
        return f"planned: {kind} at the next {at.replace('_', ' ').upper()}"

    def _release(self, _card: str) -> str:
        self._stack.cardsim.release()
        return "a silent card goes on"

    def _behave(self, _card: str) -> str:
        self._stack.cardsim.clear_faults()
        return "nothing is planned"

    def _toggle(self, _card: str, name: str) -> str:
        part: Part = getattr(self._stack, name)
        if part.running:
            part.stop()
            self._frozen &= part is not self._stack.centrald
        else:
            part.start()
        return f"{name} {'runs' if part.running else 'is stopped'}"

    def _freeze(self, _card: str) -> str:
        self._stack.centrald.signal(signal.SIGCONT if self._frozen else signal.SIGSTOP)
        self._frozen = not self._frozen
        return f"the centre {'is frozen' if self._frozen else 'goes on'}"

    def _maintain(self, _card: str) -> str:
        command, there = (BIN / "centrald", "maintenance"), ("--directory", self._stack.site.central)
        if self._maintenance is not None:
            run([*command, "cancel", str(self._maintenance), *there])
            self._maintenance = None
            return "the maintenance is over"
        now = datetime.datetime.now(datetime.UTC)
        begin, end = ((now + datetime.timedelta(hours=hours)).isoformat(timespec="seconds") for hours in (-1, 1))
        self._maintenance = json.loads(run([*command, "add", begin, end, *there, "--json"]))["id"]
        return "a maintenance window has begun"

    def _enable(self, _card: str) -> str:
        word = "enable" if self._disabled else "disable"
        run([BIN / "centrald", "kiosk", word, KIOSK_ID, "--directory", self._stack.site.central])
        self._disabled = not self._disabled
        return f"this kiosk is {word}d"

    def _pcscd(self, _card: str) -> str:
        if self._without_reader:
            self._stack.pcscd.resume()
        else:
            self._stack.pcscd.kill()
        self._without_reader = not self._without_reader
        return f"pcscd is {'gone' if self._without_reader else 'back'}"

    def _kill_daemon(self, _card: str) -> str:
        self._stack.gatewayd.kill()
        self._stack.gatewayd.start()
        return "gatewayd was killed, and started again"

    def _restart_screen(self, _card: str) -> str:
        self._screen.restart()
        return "jpki-kiosk was restarted"

    # --- what there is to see -----------------------------------------------------------------------------------------

    def seen(self) -> dict[str, Any]:
        """Everything the panel shows, as JSON."""
        stack = self._stack
        return {
            "screen": self._screen.address,
            "news": list(self._news),
            "parts": {
                "jpki-kiosk": self._screen.running,
                "gatewayd": stack.gatewayd.running,
                "centrald": "frozen" if self._frozen and stack.centrald.running else stack.centrald.running,
                "pcscd": not self._without_reader,
                "cardsim": stack.cardsim.running,
            },
            "daemon": self._daemon(),
            "cards": self._cards(),
            "faults": [fault for fault in self._asked(stack.cardsim.faults) if fault["state"] == "waiting"],
            "ledger": self._ledger(),
        }

    def _asked(self, question: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        try:
            return question()
        except (ControlError, UnreachableError):
            return []

    def _cards(self) -> list[dict[str, Any]]:
        there = {shown["card"]: shown for shown in self._asked(self._stack.cardsim.show_all)}
        return [
            {
                "card": name,
                "description": personas.load(name).description,
                "slot": there[name]["slot"] if name in there else None,
                "references": there[name]["references"] if name in there else None,
            }
            for name in sorted(personas.names(), key=lambda name: name != personas.DEFAULT)
        ]

    def _daemon(self) -> dict[str, Any]:
        try:
            with grpc.insecure_channel(f"unix:{self._stack.gatewayd.socket}") as channel:
                stub = GatewayServiceStub(channel)
                status = stub.GetStatus(gateway.GetStatusRequest(), timeout=STATUS_S).status
        except grpc.RpcError as error:
            return {"ready": False, "problems": [f"does not answer: {error.code().name}"], "attempt": "", "state": ""}
        names = gateway.ReadinessProblem.Name
        return {
            "ready": status.ready,
            "problems": [names(problem).removeprefix("READINESS_PROBLEM_") for problem in status.problems],
            "attempt": status.running_attempt_id,
            "state": State.Name(status.running_state).removeprefix("STATE_") if status.running_attempt_id else "",
        }

    def _ledger(self) -> list[dict[str, Any]]:
        with self._stack.cardsim.ledger.open("rb") as ledger:
            ledger.seek(0, 2)
            ledger.seek(max(0, ledger.tell() - LEDGER_TAIL_BYTES))
            lines = ledger.read().decode(errors="replace").splitlines()
        entries = []
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:  # cut off at the beginning
                continue
            entries.append({key: entry.get(key) for key in ENTRY})
        return entries[:LEDGER_LINES]
