"""The table of visits is whole, and the page of pictures is made of it."""

from __future__ import annotations

from jpkireset.gateway.v1.reason_pb2 import Reason

from tests.rig.scenarios import SCENARIOS
from tests.rig.screens import PAGE, SHEET, missing, page
from tests.rig.visitor import Look, codes

LARGEST_SHEET_BYTES = 1_500_000


def test_every_reason_has_a_visit_that_shows_it() -> None:
    shown = {reason for scenario in SCENARIOS for reason in scenario.reasons}
    assert shown == {name.removeprefix("REASON_") for name, number in Reason.items() if number}


def test_every_reason_has_a_code_of_its_own() -> None:
    known = codes()
    assert len(set(known.values())) == len(known)
    assert {name.removeprefix("REASON_") for name, number in Reason.items() if number} <= set(known)


def test_reason_without_a_picture_is_named() -> None:
    """`make screens` fails for it."""
    pictures = {name: Look("end", code, "", "", "", "") for name, code in codes().items()}
    assert missing(list(pictures.values())) == []
    for reason in ("CARD_REFUSED", "OUTCOME_UNRESOLVED"):
        assert missing([look for name, look in pictures.items() if name != reason]) == [reason]


def test_page_of_pictures_is_as_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert 0 < SHEET.stat().st_size <= LARGEST_SHEET_BYTES


def test_visits_say_what_they_are() -> None:
    assert all(scenario.cause.endswith(".") for scenario in SCENARIOS)
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
