"""Planned faults on the link, against a reader made of a TCP listener: every kind at every point of one VERIFY."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from cardsim.card import ATR
from cardsim.fault import POINTS, Fault, FaultError, Kind, Point
from cardsim.slot import SlotError
from tests.unit.cardsim.bench import GET_ATR, POWER_ON, SECONDS, Bench, Reader, insert, until
from tests.unit.cardsim.foreign import Host
from tests.unit.cardsim.making import QUERY_USER_PIN, SELECT_JPKI, verify
from tests.unit.cardsim.test_ledger import lines

WRONG = bytes.fromhex(verify("98", b"0000"))
ANSWER = bytes.fromhex("63C2")
SELECT, QUERY = bytes.fromhex(SELECT_JPKI), bytes.fromhex(QUERY_USER_PIN)
UNSELECTED = bytes.fromhex("6A88")
BEFORE_EFFECT = (Point.BEFORE_DELIVERY, Point.AFTER_DELIVERY)
LATE = 2.5


def plan(bench: Bench, kind: Kind, point: Point = Point.AFTER_EFFECT, at: str = "verify", **more: Any) -> int:
    """Plan a fault."""
    return bench.slots.plan(msgspec.convert({"at": at, "kind": kind, "point": point, **more}, Fault))


async def in_application(bench: Bench) -> Reader:
    """Insert the card and select its application."""
    reader = await insert(bench)
    assert await reader.ask(SELECT) == bytes.fromhex("9000")
    return reader


def tries(bench: Bench) -> int:
    """Return the tries left of the user PIN."""
    (reference,) = (each for each in bench.card.card.memory.references() if each.name == "user_pin")
    return reference.tries


def sent_before(point: Point) -> bytes:
    """Return what has left of the answer when the fault strikes."""
    return {Point.INSIDE_ANSWER: ANSWER[:1], Point.AFTER_ANSWER: ANSWER}.get(point, b"")


def check_effect(bench: Bench, point: Point) -> None:
    """Check that the card has done what comes before this point and nothing more, and that the ledger says so."""
    assert tries(bench) == (3 if point in BEFORE_EFFECT else 2)
    entries = {each["event"]: each for each in lines(bench.ledger_path) if "0020009804[4]" in each.values()}
    struck, delivered = entries["fault"], entries.get("apdu")
    (fault,) = bench.faults.describe()
    assert (fault["state"], fault["seq"]) == ("fired", struck["seq"])
    assert (struck["fault"], struck["at"], struck["point"]) == (1, "verify", point)
    assert (delivered is None) == (point is Point.BEFORE_DELIVERY)
    if delivered and point is Point.AFTER_DELIVERY:
        assert (delivered["status"], delivered["before"] == delivered["after"]) == ("", True)


@pytest.mark.parametrize("point", list(Point))
async def test_torn(bench: Bench, point: Point) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.TEAR, point)
    reader.send(WRONG)
    answer, _ = await reader.receive()
    assert answer == sent_before(point)
    assert await reader.gone()
    await until(lambda: bench.card.slot == "")
    check_effect(bench, point)
    assert not bench.card.card.powered
    assert bench.slots.show("card")[0]["slot"] is None
    again = await insert(bench)
    assert await again.ask(QUERY) == UNSELECTED


@pytest.mark.parametrize("point", list(Point))
async def test_torn_and_back_faster_than_anybody_looks(bench: Bench, point: Point) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.TEAR, point, seconds=0)
    reader.send(WRONG)
    answer, _ = await reader.receive()
    assert answer == sent_before(point)
    await reader.card()
    assert await reader.ask(QUERY) == UNSELECTED, "it lost its power, and nobody told it to have power again"
    check_effect(bench, point)
    assert bench.events()[-4:] == ["power_off kiosk", "remove kiosk", "insert kiosk", "power_on kiosk"]
    assert bench.slots.show("card")[0]["slot"] == "kiosk"


async def test_torn_and_back_after_a_time(bench: Bench) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.TEAR, seconds=LATE)
    reader.send(WRONG)
    assert await reader.receive() == (b"", False)
    await reader.card()
    assert bench.slept == [LATE]
    reader.send(POWER_ON)
    assert await reader.ask(GET_ATR) == ATR
    assert await bench.slots.remove("kiosk") == "card"


@pytest.mark.parametrize("point", list(Point))
@pytest.mark.parametrize("seconds", [None, LATE])
async def test_another_card_in_its_place(bench: Bench, point: Point, seconds: float | None) -> None:
    reader = await in_application(bench)
    when = {} if seconds is None else {"seconds": seconds}
    plan(bench, Kind.SWAP, point, "verify", other="other", **when)
    reader.send(WRONG)
    answer, _ = await reader.receive()
    assert answer == sent_before(point)
    await reader.card()
    await until(lambda: bench.other.card.powered or seconds is not None)
    check_effect(bench, point)
    assert [each["slot"] for each in bench.slots.show()] == [None, "kiosk"]
    if seconds is None:
        assert await reader.ask(SELECT) == bytes.fromhex("9000")
        assert lines(bench.ledger_path)[-1]["card"] == "other"


async def test_the_card_that_takes_the_place_may_lie_elsewhere(bench: Bench) -> None:
    reader = await in_application(bench)
    await bench.slots.insert("other", "phone")
    plan(bench, Kind.SWAP, other="other")
    reader.send(WRONG)
    await reader.receive()
    await reader.card()
    assert [each["slot"] for each in bench.slots.show()] == [None, "kiosk"]


@pytest.mark.parametrize("point", list(Point))
async def test_mute_until_released(bench: Bench, point: Point) -> None:
    reader = await in_application(bench)
    number = plan(bench, Kind.MUTE, point)
    reader.send(WRONG)
    if point is Point.INSIDE_ANSWER:
        assert await reader.first_byte() == ANSWER[:1]
    elif point is Point.AFTER_ANSWER:
        assert await reader.receive() == (ANSWER, True)
        reader.send(QUERY)
    await until(lambda: bool(bench.faults.describe()[0]["active"]))
    assert tries(bench) == (3 if point in BEFORE_EFFECT else 2)
    assert bench.faults.release(number) == [number]
    if point is Point.INSIDE_ANSWER:
        assert await reader.next_byte() == ANSWER[1:]
    else:
        assert await reader.receive() == (ANSWER, True)
    assert tries(bench) == 2
    with pytest.raises(FaultError, match="no card is held mute"):
        bench.faults.release()


@pytest.mark.parametrize("end", ["lifted", "reader gone"])
@pytest.mark.parametrize("point", list(Point))
async def test_mute_until_lifted_or_until_the_reader_is_gone(bench: Bench, point: Point, end: str) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.MUTE, point)
    reader.send(WRONG)
    await until(lambda: bool(bench.faults.describe()[0]["active"]))
    if end == "lifted":
        assert await bench.slots.remove("kiosk") == "card"
        await insert(bench)
    else:
        await reader.pull()
        await reader.card()
        reader.send(POWER_ON)
    assert await reader.ask(QUERY) == UNSELECTED
    check_effect(bench, point)
    assert bench.faults.describe()[0]["active"] is False


@pytest.mark.parametrize("point", sorted(POINTS[Kind.DELAY]))
async def test_late(bench: Bench, point: Point) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.DELAY, point, seconds=LATE)
    assert await reader.ask(WRONG) == ANSWER
    assert bench.slept == [LATE]
    assert tries(bench) == 2


@pytest.mark.parametrize("point", sorted(POINTS[Kind.STATUS]))
@pytest.mark.parametrize("kind", [Kind.ONE_BYTE, Kind.STATUS, Kind.GARBAGE])
async def test_another_answer(bench: Bench, kind: Kind, point: Point) -> None:
    reader = await in_application(bench)
    plan(bench, kind, point, **({"status": "6F00"} if kind is Kind.STATUS else {}))
    answer = await reader.ask(WRONG)
    expected = {Kind.ONE_BYTE: b"\x90", Kind.STATUS: bytes.fromhex("6F00")}
    assert answer == expected[kind] if kind in expected else len(answer) == 32
    assert lines(bench.ledger_path)[-1]["instead"] == answer.hex().upper()
    check_effect(bench, point)
    assert await reader.ask(QUERY) == bytes.fromhex("63C3" if point in BEFORE_EFFECT else "63C2")


@pytest.mark.parametrize("point", sorted(POINTS[Kind.EMPTY]))
async def test_an_answer_of_no_bytes_is_the_end_of_a_connection_and_the_card_keeps_its_power(
    bench: Bench, point: Point
) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.EMPTY, point)
    reader.send(WRONG)
    assert await reader.receive() == (b"", False)
    await reader.card()
    check_effect(bench, point)
    assert await reader.ask(QUERY) == bytes.fromhex("63C3" if point in BEFORE_EFFECT else "63C2")
    assert bench.events() == ["insert kiosk", "power_on kiosk", "fault kiosk"]


async def test_faults_of_the_receipt(bench: Bench) -> None:
    """Only the answer of RESET RETRY COUNTER has a MAC; a fault of it at any command waits for that one."""
    await insert(bench)
    plan(bench, Kind.MAC_WRONG, at="apdu")
    plan(bench, Kind.MAC_MISSING, at="apdu")
    for length in (10, 2):
        host = Host(bench.card.card)
        host.open()
        answer = await bench.card.transmit(host.wrapped_reset(b"NEWPASS23"))
        assert isinstance(answer, bytes)
        assert (len(answer), answer[-2:]) == (length, bytes.fromhex("9000"))
        entry, fault = lines(bench.ledger_path)[-2:]
        assert (entry["status"], len(entry["answer"])) == ("9000", 16), "the ledger has what the card said"
        assert fault["instead"] == answer.hex().upper()
        assert entry["answer"] not in fault["instead"]
    assert [each["state"] for each in bench.faults.describe()] == ["fired", "fired"]


async def test_a_fault_in_another_slot_waits(bench: Bench) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.EMPTY, slot="phone")
    assert await reader.ask(WRONG) == ANSWER
    assert bench.faults.describe()[0]["state"] == "waiting"


async def test_clearing_lets_a_mute_card_go_on(bench: Bench) -> None:
    reader = await in_application(bench)
    plan(bench, Kind.MUTE)
    reader.send(WRONG)
    await until(lambda: bool(bench.faults.describe()[0]["active"]))
    assert bench.faults.clear() == 1
    assert await reader.receive() == (ANSWER, True)
    assert bench.faults.describe() == []


async def torn_and_awaited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Tear the card off, with a time until it comes back that does not pass."""
    reader = await in_application(bench)
    asleep = asyncio.Event()

    async def sleep_for_ever(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.slots, "_sleep", sleep_for_ever)
    plan(bench, Kind.TEAR, seconds=LATE)
    reader.send(WRONG)
    await reader.receive()
    await asyncio.wait_for(asleep.wait(), SECONDS)
    return reader


async def test_a_card_put_in_by_hand_comes_instead_of_the_planned_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await torn_and_awaited(bench, monkeypatch)
    assert await bench.slots.insert("other", "kiosk")
    await reader.card()
    assert [each["slot"] for each in bench.slots.show()] == [None, "kiosk"]


async def test_a_card_that_would_come_back_is_kept_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await torn_and_awaited(bench, monkeypatch)
    assert await bench.slots.remove("kiosk") == "card"
    with pytest.raises(SlotError, match="slot kiosk is empty"):
        await bench.slots.remove("kiosk")


async def test_what_cannot_be_planned(bench: Bench) -> None:
    with pytest.raises(SlotError, match="no card third"):
        plan(bench, Kind.SWAP, other="third")
    with pytest.raises(SlotError, match="no slot desk"):
        plan(bench, Kind.TEAR, slot="desk")
    assert bench.faults.describe() == []
