"""Planned faults on the real PC/SC stack: what another program sees of them, and what has become of the card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from smartcard.scard import (
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCARD_STATE_CHANGED,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCardEstablishContext,
    SCardGetStatusChange,
    SCardReleaseContext,
)
from yubikit.core import BadResponseError
from yubikit.core.smartcard.scp import StaticKeys

from cardsim import store
from tests.integration.exclusive import CARD_REMOVED, TRANSACTION_FAILED, Exclusive, connected
from tests.integration.test_cardsim import cardsim
from tests.integration.test_foreign_scp03 import KEY_VERSION, NEW_PASSWORD, Connection, open_channel
from tests.rig.opensc import OpenSC, Tries
from tests.rig.parts import CardSimulator
from tests.rig.pcscd import KIOSK, PrivatePcscd
from tests.rig.process import wait_until

SELECT = "00A4040C0AD392F000260100000001"
WRONG_PIN = "0020009804" + b"0000".hex()
QUERY = "00200098"
DONE, TWO_LEFT, NO_SUCH_REFERENCE = bytes.fromhex("9000"), bytes.fromhex("63C2"), bytes.fromhex("6A88")
SECONDS = 20.0
COUNTER_SHIFT = 16  # pcsc-lite: insertions and removals are counted in the upper half of a reader's state
POLL_SECONDS = 0.4  # pcscd looks for cards so often


@pytest.fixture
def kiosk(private_pcscd: PrivatePcscd) -> str:
    """The reader's name."""
    return private_pcscd.readers[KIOSK].name


@pytest.fixture
def terminal(simulator: CardSimulator, opensc: OpenSC, kiosk: str) -> Iterator[Exclusive]:
    """An exclusive connection to a card whose application is selected."""
    simulator.insert("forgotten")
    opensc.wait_for_card()
    with connected(kiosk) as terminal:
        assert terminal.transmit(SELECT) == DONE
        yield terminal


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    """For a call that does not return."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def tries(simulator: CardSimulator) -> int:
    """Return what the card knows of its user PIN."""
    left = simulator.show("forgotten")["references"]["user_pin"]["tries"]
    assert isinstance(left, int)
    return left


def events(reader: str) -> tuple[bool, int]:
    """Return whether pcscd sees a card, and how many insertions and removals it has counted."""
    code, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    assert code == SCARD_S_SUCCESS
    code, ((_, state, _),) = SCardGetStatusChange(context, 0, [(reader, SCARD_STATE_UNAWARE)])
    SCardReleaseContext(context)
    return bool(state & SCARD_STATE_PRESENT), (state & ~SCARD_STATE_CHANGED) >> COUNTER_SHIFT


@pytest.mark.parametrize(
    ("point", "answer", "left", "delivered"),
    [
        ("before_delivery", b"", 3, False),
        ("after_delivery", b"", 3, True),
        ("after_effect", b"", 2, True),
        ("inside_answer", TWO_LEFT[:1], 2, True),
        ("after_answer", TWO_LEFT, 2, True),
    ],
)
def test_a_card_torn_off_is_a_success_without_an_answer(
    simulator: CardSimulator, terminal: Exclusive, point: str, answer: bytes, left: int, delivered: bool
) -> None:
    with simulator.fault("verify", "tear", point) as number:
        assert terminal.transmit(WRONG_PIN) == answer
    assert terminal.transmit(QUERY) in (TRANSACTION_FAILED, CARD_REMOVED)
    assert tries(simulator) == left
    entries = [each for each in simulator.entries() if "0020009804[4]" in each.values()]
    assert [each["event"] for each in entries] == (["apdu", "fault"] if delivered else ["fault"])
    (fault,) = simulator.faults()
    assert (fault["id"], fault["seq"]) == (number, entries[-1]["seq"])
    assert simulator.show("forgotten")["slot"] is None


def test_a_card_torn_off_comes_back_by_itself(
    simulator: CardSimulator, terminal: Exclusive, opensc: OpenSC, kiosk: str
) -> None:
    _, before = events(kiosk)
    with simulator.fault("verify", "tear", seconds=2 * POLL_SECONDS):
        assert terminal.transmit(WRONG_PIN) == b""
    wait_until(lambda: events(kiosk) == (True, before + 2), SECONDS, "a removal and an insertion")
    assert terminal.transmit(QUERY) == CARD_REMOVED
    terminal.close()
    assert opensc.tries_left() == Tries(user_pin=2, signing_password=5)


def test_a_late_answer_is_an_answer(simulator: CardSimulator, terminal: Exclusive) -> None:
    begun = time.monotonic()
    with simulator.fault("verify", "delay", seconds=0.5):
        assert terminal.transmit(WRONG_PIN) == TWO_LEFT
    assert time.monotonic() - begun >= 0.5
    assert terminal.transmit(QUERY) == TWO_LEFT


def begin(simulator: CardSimulator, terminal: Exclusive, worker: ThreadPoolExecutor) -> Future[bytes | int]:
    """Send a wrong PIN that the card takes, and does not answer."""
    simulator.plan("verify", "mute")
    call = worker.submit(terminal.transmit, WRONG_PIN)
    wait_until(lambda: simulator.faults()[0]["active"], SECONDS, "a mute card")
    assert tries(simulator) == 2
    assert not call.done()
    return call


def test_a_mute_card_answers_when_it_is_released(
    simulator: CardSimulator, terminal: Exclusive, worker: ThreadPoolExecutor
) -> None:
    call = begin(simulator, terminal, worker)
    simulator.release()
    assert call.result(SECONDS) == TWO_LEFT
    assert terminal.transmit(QUERY) == TWO_LEFT


def test_a_mute_card_is_lifted(simulator: CardSimulator, terminal: Exclusive, worker: ThreadPoolExecutor) -> None:
    call = begin(simulator, terminal, worker)
    simulator.remove()
    assert call.result(SECONDS) == b""
    assert simulator.faults()[0]["active"] is False


def test_a_mute_card_is_well_again_when_pcscd_is_restarted(
    simulator: CardSimulator,
    terminal: Exclusive,
    worker: ThreadPoolExecutor,
    private_pcscd: PrivatePcscd,
    opensc: OpenSC,
) -> None:
    call = begin(simulator, terminal, worker)
    private_pcscd.kill()
    try:
        assert isinstance(call.result(SECONDS), int), "a return code"
    finally:
        private_pcscd.resume()
    assert opensc.tries_left() == Tries(user_pin=2, signing_password=5)


def test_an_answer_of_no_bytes(simulator: CardSimulator, terminal: Exclusive, kiosk: str) -> None:
    before = events(kiosk)
    with simulator.fault("verify", "empty"):
        assert terminal.transmit(WRONG_PIN) == b""
    assert terminal.transmit(QUERY) == TRANSACTION_FAILED
    wait_until(lambda: terminal.transmit(QUERY) == TWO_LEFT, SECONDS, "an answer of the same card")
    assert events(kiosk) == before, "nobody missed the card"
    assert [each["event"] for each in simulator.entries() if each["event"] in ("remove", "power_off")] == []
    assert tries(simulator) == 2


@pytest.mark.parametrize(("kind", "answer"), [("one_byte", b"\x90"), ("status", bytes.fromhex("6F00"))])
def test_an_answer_of_other_bytes(simulator: CardSimulator, terminal: Exclusive, kind: str, answer: bytes) -> None:
    more = {"status": "6F00"} if kind == "status" else {}
    with simulator.fault("verify", kind, "after_effect", **more):
        assert terminal.transmit(WRONG_PIN) == answer
    assert terminal.transmit(QUERY) == TWO_LEFT
    log = cardsim("log", control=simulator.control).stdout
    assert f"forgotten@kiosk -- fault 1: {kind} after_effect of 0020009804[4]\n" in log


def test_a_card_swapped_faster_than_pcscd_looks_gets_the_commands_of_the_old_connection(
    simulator: CardSimulator, terminal: Exclusive, kiosk: str
) -> None:
    """Why a connection that saw one error must not be used again."""
    before = events(kiosk)
    with simulator.fault("verify", "swap", "after_answer", other="locked"):
        assert terminal.transmit(WRONG_PIN) == TWO_LEFT
    assert terminal.transmit(QUERY) == TRANSACTION_FAILED
    wait_until(lambda: simulator.show("locked")["connected"], SECONDS, "the other card in the slot")
    wait_until(lambda: terminal.transmit(QUERY) == NO_SUCH_REFERENCE, SECONDS, "an answer of the other card")
    assert simulator.entries()[-1]["card"] == "locked"
    assert events(kiosk) == before, "nobody missed the first card"


def test_a_card_swapped_slowly_is_another_card(
    simulator: CardSimulator, terminal: Exclusive, kiosk: str, opensc: OpenSC
) -> None:
    _, before = events(kiosk)
    with simulator.fault("verify", "swap", other="locked", seconds=2 * POLL_SECONDS):
        assert terminal.transmit(WRONG_PIN) == b""
    wait_until(lambda: events(kiosk) == (True, before + 2), SECONDS, "a removal and an insertion")
    assert terminal.transmit(QUERY) == CARD_REMOVED
    terminal.close()
    assert opensc.tries_left() == Tries(user_pin=3, signing_password=0)
    assert tries(simulator) == 2


def test_a_reset_is_done_and_its_receipt_is_wrong_or_missing(
    simulator: CardSimulator, opensc: OpenSC, kiosk: str, tmp_path: Path
) -> None:
    simulator.insert("locked")
    opensc.wait_for_card()
    keys = store.load(tmp_path / "site/cards/locked.json").channel.keys[KEY_VERSION]
    with connected(kiosk) as terminal:
        connection = Connection(terminal.handle)
        channel = open_channel(connection, StaticKeys(keys.enc, keys.mac))
        with simulator.fault("reset_retry_counter", "mac_wrong"), pytest.raises(BadResponseError):
            channel.send_apdu(0x00, 0x2C, 0x02, 0x9B, b"OTHERPW42", 0)
        channel = open_channel(connection, StaticKeys(keys.enc, keys.mac))
        with simulator.fault("reset_retry_counter", "mac_missing"):
            channel.send_apdu(0x00, 0x2C, 0x02, 0x9B, NEW_PASSWORD.encode(), 0)
        assert connection.answers[-1] == DONE
    shown = simulator.show("locked")["references"]["signing_password"]
    assert (shown["value"], shown["tries"]) == (NEW_PASSWORD, 5), "it was done"


def test_extended_length_passes(terminal: Exclusive) -> None:
    whole = terminal.transmit("00B08A00000000")
    assert isinstance(whole, bytes)
    assert (len(whole), whole[:2], whole[-2:]) == (2_048 + 2, bytes.fromhex("3082"), DONE)
    assert terminal.transmit("00840000000008") == bytes.fromhex("6985")
    assert terminal.transmit("80A20096000133" + "11" * 307) == bytes.fromhex("6700")
