"""One true reset: what the citizen sees, what card and centre hold afterwards, and what operators can measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jpkireset.gateway.v1.reason_pb2 import REASON_RESERVATION_USED, REASON_UNSPECIFIED
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE, State

from tests.rig import metrics
from tests.rig.citizen import PHONE, Citizen
from tests.rig.front_end import FINISHED, REMOVE_CARD
from tests.rig.opensc import SIGNING_TOKEN, OpenSC, Tries
from tests.rig.pcscd import PHONE as PHONE_READER
from tests.rig.process import wait_until
from tests.rig.stack import Stack

STATES = [
    "STATE_ADMITTING",
    "STATE_WAITING_FOR_CARD",
    "STATE_READING_CARD",
    "STATE_ENTER_USER_PIN",
    "STATE_CHECKING_RESERVATION",
    "STATE_ENTER_NEW_PASSWORD",
    "STATE_AUTHORIZING",
    "STATE_WRITING",
    "STATE_REMOVE_CARD",
    "STATE_FINISHED",
]
MOST_APDUS = 45
SECONDS = 5.0
TO_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
DOCUMENT = b"a tax return\n"


@pytest.mark.reason("RESERVATION_USED")
async def test_every_state_in_order_and_the_reservation_is_used_once(citizen: Citizen, new_password: str) -> None:
    before = citizen.references
    citizen.reserve()

    attempt = await citizen.reset(new_password)
    last = await citizen.leave(attempt)

    states = [State.Name(view.state) for view in attempt.views]
    assert states == sorted(states, key=STATES.index)
    assert list(dict.fromkeys(states)) == STATES
    numbers = [view.number for view in attempt.views]
    assert numbers == sorted(set(numbers))
    assert {view.attempt_id for view in attempt.views} == {attempt.id}
    assert (last.outcome, last.reason) == (OUTCOME_DONE, REASON_UNSPECIFIED)
    assert attempt.views[-2].outcome == OUTCOME_DONE, "the outcome was not told before the card was to be taken"
    assert last.HasField("reservation_expires_at")

    commands = citizen.commands()
    assert len(commands) <= MOST_APDUS
    assert commands.count("EXTERNAL AUTHENTICATE") == commands.count("RESET RETRY COUNTER") == 1
    assert citizen.verifications() == 1
    after = citizen.references
    assert before.pop("signing_password")["tries"] == 0
    assert after.pop("signing_password") == {"value": new_password, "tries": 5, "limit": 5}
    assert after == before

    record = await citizen.front.attempt_record(attempt.id)
    assert (record.state, record.outcome, record.reason) == (FINISHED, OUTCOME_DONE, REASON_UNSPECIFIED)
    assert record.HasField("ended_at")
    entries = citizen.stack.centrald.ledger(attempt.id)
    assert [entry["event"] for entry in entries] == ["begun", "checked", "authorized", "reported"]
    assert (entries[-1]["verdict"], entries[-1]["state_after"]) == ("valid", "used")

    second = await citizen.to_pin()
    await second.user_pin(citizen.user_pin)
    view = await second.until(REMOVE_CARD)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, REASON_RESERVATION_USED)
    assert citizen.commands().count("RESET RETRY COUNTER") == 1


async def test_forgotten_password_typed_in_any_width_and_case_works_in_opensc(
    citizen: Citizen, new_password: str, shared_stack: Stack, tmp_path: Path
) -> None:
    citizen.card = "forgotten"
    assert citizen.tries_left("signing_password") == 5
    citizen.reserve()
    attempt = await citizen.reset(new_password[:8].translate(TO_FULL_WIDTH) + new_password[8:].lower())
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE

    citizen.place(slot=PHONE)
    reader = shared_stack.pcscd.readers[PHONE_READER].name
    opensc = OpenSC(tmp_path / "opensc", shared_stack.pcscd.environment, reader)
    assert opensc.tries_left() == Tries(user_pin=3, signing_password=5)
    signature = opensc.sign(SIGNING_TOKEN, 2, new_password, DOCUMENT)
    assert opensc.verify(opensc.certificate(2, new_password), DOCUMENT, signature)


async def test_everything_is_measured_and_nothing_told_of_the_citizen(citizen: Citizen, new_password: str) -> None:
    citizen.reserve()
    attempt = await citizen.reset(new_password)
    await citizen.leave(attempt)
    await citizen.front.idle()

    url = citizen.stack.gatewayd.metrics_url
    wait_until(lambda: not metrics.value(metrics.scrape(url), "gatewayd_outbox_pending"), SECONDS, "an empty outbox")
    families = metrics.scrape(url)
    counts = metrics.histograms(families)
    assert len(counts) >= 9
    assert [name for name, count in counts.items() if not count] == []
    assert metrics.value(families, "gatewayd_attempts_total", outcome="done", reason="none") >= 1
    assert metrics.value(families, "gatewayd_user_pin_verifications_total", result="accepted") >= 1
    assert metrics.value(families, "gatewayd_card_password_locked_total", password="signing_password") >= 1
    for gauge in ("reader_lock_held", "reader_lock_age_seconds", "lease_held", "outbox_pending"):
        assert metrics.value(families, f"gatewayd_{gauge}") == 0
    labels = {text for family in families.values() for sample in family.samples for text in sample.labels.values()}
    personal = {attempt.id, citizen.user_pin, *_serial_numbers(citizen)}
    assert [text for text in labels for word in personal if word.lower() in text.lower()] == []


async def test_nothing_on_the_kiosk_s_disk_says_who_was_here(citizen: Citizen, new_password: str) -> None:
    """Neither as text nor as bytes; so no certificate stands there either, which has its number inside."""
    citizen.reserve()
    attempt = await citizen.reset(new_password)
    await citizen.leave(attempt)
    stack = citizen.stack
    files = [path for path in (stack.directory / "kiosk").rglob("*") if path.is_file()]
    wait_until(lambda: attempt.id in stack.gatewayd.log.read_text(), SECONDS, "the attempt in the log")
    written = {path.name: path.read_bytes() for path in (*files, stack.gatewayd.log)}
    told = {name for name, content in written.items() if attempt.id.encode() in content}
    assert "gatewayd.log" in told
    assert told & {"journal.db", "journal.db-wal"}
    numbers = _serial_numbers(citizen)
    for number in numbers:
        forms = (number.encode(), number.upper().encode(), str(int(number, 16)).encode(), bytes.fromhex(number))
        assert [name for name, content in written.items() for form in forms if form in content] == []


def _serial_numbers(citizen: Citizen) -> list[str]:
    """By what a card is known."""
    entry = json.loads((citizen.stack.site.cards / f"{citizen.card}.entry").read_text())
    names = ("user_certificate_serial", "signing_certificate_serial", "diversification_data")
    return [entry[name] for name in names]
