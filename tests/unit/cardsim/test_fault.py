"""The fault script: when a fault is due, what it makes of an answer, and which ones cannot be planned."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cardsim.fault import (
    POINTS,
    Fault,
    FaultError,
    Kind,
    Planned,
    Point,
    Script,
    altered,
    bytes_sent,
    fits,
    load,
    parse_step,
    step_name,
)
from tests.unit.cardsim.making import QUERY_USER_PIN, SELECT_JPKI, USER_PIN, verify

SELECT, QUERY, VERIFY, READ = SELECT_JPKI, QUERY_USER_PIN, verify("98", USER_PIN), "00B08A0000"
RECEIPT = bytes(range(8)) + bytes.fromhex("9000")


def strikes(script: Script, *apdus: str, slot: str = "kiosk") -> list[int]:
    """Send commands past the script and return at which of them, from 1, a fault is due."""
    struck = []
    for place, apdu in enumerate(apdus, 1):
        if planned := script.due(slot, bytes.fromhex(apdu)):
            planned.fired = place
            struck.append(place)
    return struck


def plan(kind: Kind, point: Point) -> Fault:
    """Return a fault with whatever its kind needs."""
    needs: dict[Kind, dict[str, object]] = {
        Kind.STATUS: {"status": "6a80"},
        Kind.DELAY: {"seconds": 1},
        Kind.SWAP: {"other": "card"},
    }
    return msgspec.convert({"at": "apdu", "kind": kind, "point": point, **needs.get(kind, {})}, Fault)


@pytest.mark.parametrize(
    ("at", "place"),
    [
        ("apdu", [1]),
        ("apdu#4", [4]),
        ("select", [1]),
        ("select#2", [5]),
        ("tries_left", [2]),
        ("verify", [3]),
        ("verify#2", [6]),
        ("read_binary", [4]),
        ("read_binary#2", []),
        ("cb", [7]),
    ],
)
def test_a_fault_is_due_at_the_command_it_names(at: str, place: list[int]) -> None:
    script = Script([Fault(at, Kind.TEAR)])
    assert strikes(script, SELECT, QUERY, VERIFY, READ, SELECT, VERIFY, "00CB0000") == place


def test_a_fault_strikes_once() -> None:
    assert strikes(Script([Fault("verify", Kind.TEAR)]), VERIFY, VERIFY, VERIFY) == [1]


def test_commands_count_from_the_planning_on() -> None:
    script = Script()
    strikes(script, VERIFY, VERIFY)
    script.add(Fault("verify#2", Kind.TEAR))
    assert strikes(script, VERIFY, VERIFY, VERIFY) == [2]


def test_of_two_that_are_due_the_second_waits_for_the_next_command() -> None:
    script = Script([Fault("verify", Kind.TEAR), Fault("apdu#3", Kind.EMPTY)])
    assert strikes(script, SELECT, QUERY, VERIFY, READ) == [3, 4]
    assert [each.describe()["state"] for each in script.all()] == ["fired", "fired"]


def test_commands_in_another_slot_do_not_count() -> None:
    script = Script([Fault("verify#2", Kind.TEAR, slot="kiosk")])
    assert strikes(script, VERIFY, VERIFY, slot="phone") == []
    assert strikes(script, VERIFY, VERIFY) == [2]


def test_a_fault_that_did_not_fire_is_listed_as_waiting() -> None:
    script = Script([Fault("verify", Kind.STATUS, status="6F00"), Fault("select", Kind.DELAY, seconds=1.5)])
    strikes(script, SELECT)
    waiting, fired = (each.describe() for each in script.all())
    assert waiting == {
        "id": 1,
        "state": "waiting",
        "seq": None,
        "active": False,
        "at": "verify",
        "kind": "status",
        "point": "after_effect",
        "status": "6F00",
    }
    assert (fired["id"], fired["state"], fired["seq"], fired["seconds"]) == (2, "fired", 1, 1.5)
    assert len(script.clear()) == 2
    assert script.all() == ()
    assert script.add(Fault("verify", Kind.TEAR)).number == 3, "a number means one fault for ever"


@pytest.mark.parametrize(
    ("apdu", "name"),
    [
        ("00A40000", "select"),
        (QUERY, "tries_left"),
        (VERIFY, "verify"),
        ("0020009800", "verify"),
        ("042C029B00", "reset_retry_counter"),
        ("8050310008", "initialize_update"),
        ("84821300", "external_authenticate"),
        ("002A0097", "compute_digital_signature"),
        ("00CB3FFF", "cb"),
        ("00A4", ""),
    ],
)
def test_names_of_commands(apdu: str, name: str) -> None:
    assert step_name(bytes.fromhex(apdu)) == name


@pytest.mark.parametrize(
    "text", ["", "verify#0", "verify#", "verify#-1", "VERIFY", "verify 2", "nonsense", "a", "abc", "20"]
)
def test_a_step_that_does_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match="command"):
        parse_step(text)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (Kind.EMPTY, ""),
        (Kind.ONE_BYTE, "90"),
        (Kind.STATUS, "6A80"),
        (Kind.MAC_MISSING, "9000"),
        (Kind.MAC_WRONG, "FFFEFDFCFBFAF9F89000"),
        (Kind.TEAR, RECEIPT.hex()),
        (Kind.MUTE, RECEIPT.hex()),
        (Kind.DELAY, RECEIPT.hex()),
    ],
)
def test_what_a_fault_makes_of_an_answer(kind: Kind, answer: str) -> None:
    fault = plan(kind, Point.AFTER_EFFECT)
    assert altered(fault, b"command", RECEIPT) == bytes.fromhex(answer)


def test_garbage_is_the_same_in_every_run() -> None:
    garbage = Fault("apdu", Kind.GARBAGE)
    assert altered(garbage, b"one", b"") == altered(garbage, b"one", RECEIPT)
    assert altered(garbage, b"one", b"") != altered(garbage, b"two", b"")
    assert len(altered(garbage, b"one", b"")) == 32


@pytest.mark.parametrize(("answer", "changes"), [("9000", False), ("6985", False), (RECEIPT.hex(), True)])
def test_only_an_answer_with_a_mac_can_lack_it(answer: str, changes: bool) -> None:
    for kind in (Kind.MAC_MISSING, Kind.MAC_WRONG):
        assert fits(Fault("apdu", kind), bytes.fromhex(answer)) is changes
    assert fits(Fault("apdu", Kind.TEAR), bytes.fromhex(answer))


def test_how_much_leaves_before_the_fault() -> None:
    sent = {point: bytes_sent(Fault("apdu", Kind.TEAR, point), RECEIPT) for point in Point}
    assert sent == {
        Point.BEFORE_DELIVERY: 0,
        Point.AFTER_DELIVERY: 0,
        Point.AFTER_EFFECT: 0,
        Point.INSIDE_ANSWER: 5,
        Point.AFTER_ANSWER: 10,
    }
    assert bytes_sent(Fault("apdu", Kind.TEAR, Point.INSIDE_ANSWER), bytes.fromhex("9000")) == 1


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"at": "verify", "kind": "explode"}, "Invalid enum value 'explode'"),
        ({"at": "verified", "kind": "tear"}, "no command 'verified'; there are: apdu, tries_left, verify"),
        ({"at": "verify", "kind": "delay"}, "delay needs `seconds`"),
        ({"at": "verify", "kind": "delay", "seconds": -1}, "takes no such `seconds`"),
        ({"at": "verify", "kind": "mute", "seconds": 1}, "mute takes no such `seconds`"),
        ({"at": "verify", "kind": "swap"}, "swap and nothing else needs `other`"),
        ({"at": "verify", "kind": "tear", "other": "card"}, "swap and nothing else needs `other`"),
        ({"at": "verify", "kind": "status"}, "status and nothing else needs `status`"),
        ({"at": "verify", "kind": "status", "status": "90 00"}, "four hex digits"),
        ({"at": "verify", "kind": "tear", "card": "x"}, "unknown field `card`"),
        ({"at": "verify", "kind": "mac_wrong", "point": "before_delivery"}, "mac_wrong is possible at after_effect"),
    ],
)
def test_a_fault_that_means_nothing_is_refused(facts: dict[str, object], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(facts, Fault)


def test_every_kind_has_its_points() -> None:
    assert set(POINTS) == set(Kind)
    for kind, points in POINTS.items():
        for point in Point:
            if point in points:
                assert Planned(1, plan(kind, point)).describe()["point"] == point
            else:
                with pytest.raises(msgspec.ValidationError, match=f"{kind} is possible at"):
                    plan(kind, point)


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nat = "verify#2"\nkind = "tear"\nseconds = 2\n\n[[fault]]\nat = "apdu"\nkind = "mute"\n')
    assert load(path) == [Fault("verify#2", Kind.TEAR, seconds=2.0), Fault("apdu", Kind.MUTE)]
    path.write_text("")
    assert load(path) == []
    path.write_text('[[fault]]\nat = "verify"\nkind = "delay"\n')
    with pytest.raises(FaultError, match=r"faults\.toml: delay needs `seconds` - at `\$.fault\[0\]`"):
        load(path)
    with pytest.raises(FaultError, match=r"none\.toml"):
        load(tmp_path / "none.toml")
