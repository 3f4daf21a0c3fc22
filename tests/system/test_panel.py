"""The developers' panel of `make kiosk`: every deed can be done, undone where it can be, and is told."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.panel import Panel
from tests.rig.playground import CARD, DEEDS, MACHINES, Playground
from tests.rig.process import wait_until
from tests.rig.screen import KioskScreen
from tests.rig.stack import Stack

SECONDS = 30.0
UNDONE_BY_ITSELF = ("gatewayd: kill", "Screen: restart")


@pytest.fixture(scope="module")
def panel(shared_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Panel, str]]:
    state = tmp_path_factory.mktemp("screen")
    with KioskScreen(shared_stack.gatewayd.socket, state=state, log=state / "jpki-kiosk.log") as screen:
        panel = Panel(Playground(shared_stack, screen))
        try:
            yield panel, panel.start()
        finally:
            panel.close()


def asked(address: str, content: bytes, kind: str = "application/json") -> int:
    request = urllib.request.Request(address + "do", data=content, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def seen(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address + "seen", timeout=SECONDS) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def done(panel: tuple[Panel, str], label: str, card: str = "locked") -> dict[str, Any]:
    """Press a button of the page, and return what is there to see afterwards."""
    serving, address = panel
    assert asked(address, json.dumps({"deed": label, "card": card}).encode()) == 202
    serving.perform(SECONDS)
    found = seen(address)
    assert "not possible" not in found["news"][0]
    return found


def test_card_goes_home_and_to_the_kiosk(panel: tuple[Panel, str]) -> None:
    assert "Reserved" in done(panel, "Reserve")["news"][0]
    there = done(panel, "Place the card")["cards"]
    assert [shown["card"] for shown in there if shown["slot"] == "kiosk"] == ["locked"]
    there = done(panel, "Place the card", "forgotten")["cards"]
    assert [shown["card"] for shown in there if shown["slot"] == "kiosk"] == ["forgotten"], "the other one is swapped"
    after = done(panel, "Take the card")
    assert not any(shown["slot"] for shown in after["cards"])
    assert after["ledger"][0]["event"] == "remove"
    done(panel, "As issued")


@pytest.mark.parametrize("label", [deed.label for deed in DEEDS if deed.group == MACHINES])
def test_machines_fail_and_come_back(panel: tuple[Panel, str], label: str) -> None:
    before = seen(panel[1])["parts"]
    assert all(part is True for part in before.values())
    done(panel, label)
    if label not in UNDONE_BY_ITSELF:
        done(panel, label)
    assert seen(panel[1])["parts"] == before
    wait_until(lambda: "does not answer" not in str(seen(panel[1])["daemon"]["problems"]), SECONDS, "the daemon")


def test_cards_are_told_what_to_do_wrong_and_to_behave(panel: tuple[Panel, str]) -> None:
    for deed in (deed for deed in DEEDS if deed.do == "fault"):
        assert done(panel, deed.label)["faults"]
    assert done(panel, "Behave")["faults"] == []
    assert {deed.do for deed in DEEDS if deed.group == CARD} == {"fault", "release", "behave"}


def test_panel_takes_nothing_from_another_site(panel: tuple[Panel, str]) -> None:
    address = panel[1]
    assert asked(address, b"deed=Take+the+card", "application/x-www-form-urlencoded") == 415
    assert asked(address, b'{"deed": "nothing of the kind", "card": "locked"}') == 404


def test_page_has_a_button_for_every_deed(panel: tuple[Panel, str]) -> None:
    page = (Path(__file__).parents[1] / "rig/panel.html").read_text(encoding="utf-8")
    assert all(f'data-group="{group}"' in page for group in Counter(deed.group for deed in DEEDS))
