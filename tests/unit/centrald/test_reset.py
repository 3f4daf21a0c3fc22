"""Whole resets through the service's calls: a real channel to a card in memory, a database file, a clock to move."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa

from centrald.errors import BadContent, NeverBegun, NotYours, OutOfOrder
from centrald.rules.model import Attempt, FaceMatch, Outcome, Refusal, State, Verdict
from centrald.service.channels import Authorized
from centrald.service.kiosks import ServiceStatus
from centrald.storage import schema
from centrald.storage.ledger import Event
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, PROCEDURE, WRONG_RECEIPT, HeldCard, World, minutes, new_id


async def test_the_good_path_ends_used_on_the_cards_own_receipt(world: World) -> None:
    card, reservation, attempt = await world.ready()
    receipt = await attempt.write(card)
    assert await world.state(reservation) is State.AUTHORIZED
    report = await attempt.done(receipt)
    assert (report.verdict, report.state, report.contradiction) == (Verdict.VALID, State.USED, False)
    assert await attempt.release() is State.USED
    again = await world.attempt()
    assert (await again.check(card)).refusal is Refusal.RESERVATION_USED


async def test_the_ledger_tells_every_step_and_never_the_receipt(world: World) -> None:
    card, _, attempt = await world.ready()
    given = await attempt.authorized(card)
    receipt = card.write(given.external_authenticate, given.s_enc, given.s_mac)
    await attempt.done(receipt)
    entries = await world.ledger()
    assert [entry.event for entry in entries] == [
        Event.RESERVED,
        Event.BEGUN,
        Event.CHECKED,
        Event.AUTHORIZED,
        Event.REPORTED,
    ]
    assert entries[0].face_match is FaceMatch.NOT_PERFORMED
    assert [(entry.state_before, entry.state_after) for entry in entries[2:]] == [
        (State.RESERVED, State.RESERVED),
        (State.RESERVED, State.AUTHORIZED),
        (State.AUTHORIZED, State.USED),
    ]
    transcript = entries[3].transcript
    assert transcript is not None
    assert transcript == entries[4].transcript
    assert attempt.offers[1][:10] == transcript.diversification_data
    stored = b"\n".join(path.read_bytes() for path in world.directory.glob("centrald.db*")) + await everything(world)
    assert transcript.diversification_data in stored
    for secret in (receipt.r_mac, receipt.chaining_value, given.s_enc, given.s_mac):
        assert secret not in stored
        assert secret.hex().encode() not in stored.lower()


async def everything(world: World) -> bytes:
    """All that any table holds, whatever the database: a database that is a server has no file to look into."""
    async with world.database.transaction() as tx:
        rows = [
            value
            for table in schema.metadata.sorted_tables
            for row in (await tx._connection.execute(sa.select(table))).all()
            for value in row
        ]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in rows)


async def test_repeats_get_the_recorded_answers_and_do_nothing_twice(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    attempt = await world.attempt()
    begun = await world.kiosks.begin(KIOSK, attempt.id, PROCEDURE)
    world.clock.advance(minutes(1))
    assert await world.kiosks.begin(KIOSK, attempt.id, PROCEDURE) == begun
    check = await attempt.check(card)
    assert await attempt.check(card) == check
    given = await attempt.authorized(card)
    assert await attempt.ask(1, attempt.offers[1]) == given
    receipt = card.write(given.external_authenticate, given.s_enc, given.s_mac)
    report = await attempt.done(receipt)
    assert await attempt.done(receipt) == report
    released = await attempt.release()
    assert await attempt.release() is released
    assert await attempt.done(receipt) == report
    events = [entry.event for entry in await world.ledger()]
    assert sorted(events, key=list(Event).index) == [
        Event.RESERVED,
        Event.BEGUN,
        Event.CHECKED,
        Event.AUTHORIZED,
        Event.REPORTED,
        Event.RELEASED,
    ]


async def test_other_content_under_a_known_key_is_refused(world: World) -> None:
    card, other = await world.card(), await world.card()
    await world.reserved(card)
    attempt = await world.checked(card)
    with pytest.raises(BadContent):
        await attempt.check(other)
    await attempt.check(card)
    await attempt.authorized(card)
    with pytest.raises(BadContent):
        await attempt.ask(1, attempt.offer(card, 1))
    await attempt.not_done(status_word=0x6982)
    with pytest.raises(BadContent):
        await attempt.not_done(status_word=0x6985)


async def test_a_card_that_is_not_the_registered_one_gets_no_keys(world: World) -> None:
    card, other = await world.card(), await world.card()
    reservation = await world.reserved(card)
    attempt = await world.checked(card)
    assert attempt.granted is not None
    relayed = other.offer(attempt.granted.key_version, attempt.granted.host_challenges[0])
    assert await attempt.ask(1, relayed) is Refusal.CARD_NOT_GENUINE
    assert await attempt.ask(1, relayed) is Refusal.CARD_NOT_GENUINE
    with pytest.raises(BadContent):
        await attempt.authorize(card)
    with pytest.raises(OutOfOrder):
        await attempt.authorize(card, 2)
    assert (await attempt.not_done()).contradiction is False
    assert await world.state(reservation) is State.RESERVED


@pytest.mark.parametrize("position", [0, 10, 11, 12, 13, 28])
async def test_any_other_byte_in_the_cards_answer_is_not_genuine(world: World, position: int) -> None:
    card, _, attempt = await world.ready()
    answer = bytearray(attempt.offer(card, 1))
    answer[position] ^= 1
    assert await attempt.ask(1, bytes(answer)) is Refusal.CARD_NOT_GENUINE


async def test_a_wrong_receipt_is_doubt_and_the_same_card_resolves_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    card, reservation, attempt = await world.ready()
    await attempt.write(card)
    report = await attempt.done(WRONG_RECEIPT)
    assert (report.verdict, report.state) == (Verdict.INVALID, State.IN_DOUBT)
    assert [record.getMessage() for record in caplog.records] == ["a receipt does not verify"]
    assert await attempt.release() is State.IN_DOUBT
    second = await world.attempt()
    assert (await second.check(card)).in_doubt
    assert (await second.done(await second.write(card))).state is State.USED
    assert await world.state(reservation) is State.USED


async def test_unknown_is_resolved_by_the_same_card_with_the_next_number(world: World) -> None:
    card, _, attempt = await world.ready()
    await attempt.write(card)  # torn: nobody saw the answer
    assert (await attempt.unknown()).state is State.IN_DOUBT
    world.clock.advance(datetime.timedelta(seconds=100))
    receipt = await attempt.write(card, 2)
    assert (await attempt.done(receipt, 2)).state is State.USED


async def test_a_late_receipt_of_an_unknown_write_settles_it(world: World) -> None:
    card, reservation, attempt = await world.ready()
    receipt = await attempt.write(card)
    await attempt.unknown()
    assert await attempt.release() is State.IN_DOUBT
    report = await attempt.done(receipt)
    assert (report.verdict, report.contradiction) == (Verdict.VALID, False)
    assert await world.state(reservation) is State.USED


async def test_not_done_for_every_number_makes_it_free_again(world: World) -> None:
    card, _, attempt = await world.ready()
    await attempt.authorized(card)
    assert (await attempt.not_done(1, 0x6982)).state is State.RESERVED
    await attempt.authorized(card, 2)
    await attempt.authorized(card, 3)
    assert (await attempt.not_done(3)).state is State.AUTHORIZED
    assert (await attempt.not_done(2)).state is State.RESERVED
    second = await world.attempt()
    assert not (await second.check(card)).in_doubt


async def test_a_release_counts_as_not_done(world: World) -> None:
    card, reservation, attempt = await world.ready()
    await attempt.authorized(card)
    assert await attempt.release() is State.RESERVED
    assert await world.state(reservation) is State.RESERVED
    for call in (attempt.authorize(card, 2), attempt.check(card), world.kiosks.begin(KIOSK, attempt.id, PROCEDURE)):
        with pytest.raises(OutOfOrder):
            await call


async def test_a_receipt_after_a_release_is_believed_and_shown_to_people(world: World) -> None:
    card, reservation, attempt = await world.ready()
    receipt = await attempt.write(card)
    await attempt.release()
    report = await attempt.done(receipt)
    assert (report.verdict, report.state, report.contradiction) == (Verdict.VALID, State.USED, True)
    assert await world.state(reservation) is State.USED


async def test_reports_go_forward_only_and_contradictions_are_acknowledged(world: World) -> None:
    card, _, attempt = await world.ready()
    receipt = await attempt.write(card)
    await attempt.done(receipt)
    for report in (await attempt.unknown(), await attempt.not_done()):
        assert (report.state, report.contradiction) == (State.USED, True)
    async with world.database.transaction() as tx:
        assert len(await tx.entries(10, contradictions=True)) == 2


async def test_twenty_minutes_of_silence_are_doubt(world: World) -> None:
    card, reservation, attempt = await world.ready()
    await attempt.authorized(card)
    world.clock.advance(minutes(20) - datetime.timedelta(seconds=1))
    assert await world.state(reservation) is State.AUTHORIZED
    world.clock.advance(datetime.timedelta(seconds=1))
    assert await world.state(reservation) is State.IN_DOUBT
    assert (await world.kiosks.get(KIOSK, attempt.id)).state is State.IN_DOUBT
    silent = (await world.ledger())[-1]
    assert (silent.event, silent.state_after) == (Event.SILENT, State.IN_DOUBT)
    await world.kiosks.get(KIOSK, attempt.id)
    assert (await world.ledger())[-1] == silent
    assert (await attempt.not_done()).state is State.RESERVED


async def test_a_kiosk_asks_what_became_of_its_attempt(world: World) -> None:
    card, _, attempt = await world.ready()

    async def became() -> tuple[State | None, Verdict, bool]:
        status = await world.kiosks.get(KIOSK, attempt.id)
        return status.state, status.verdict, status.released

    assert await became() == (State.RESERVED, Verdict.NONE, False)
    receipt = await attempt.write(card)
    assert await became() == (State.AUTHORIZED, Verdict.NONE, False)
    await attempt.done(WRONG_RECEIPT)
    assert await became() == (State.IN_DOUBT, Verdict.INVALID, False)
    await attempt.release()
    assert await became() == (State.IN_DOUBT, Verdict.INVALID, True)
    await world.reserved(card)
    assert await became() == (State.CLOSED_UNKNOWN, Verdict.INVALID, True)
    await attempt.done(receipt)
    assert await became() == (State.USED, Verdict.VALID, True)


async def test_a_card_that_proves_itself_again_supersedes(world: World) -> None:
    card, reservation, first = await world.ready()
    await first.authorized(card)
    second = await world.attempt(OTHER_KIOSK)
    check = await second.check(card)
    assert (check.refusal, check.in_doubt) == (None, True)
    assert await first.authorize(card, 2) is Refusal.SUPERSEDED
    await second.authorized(card)
    assert (await second.not_done()).state is State.IN_DOUBT  # the first one's number is still open
    assert (await first.not_done()).state is State.RESERVED
    assert await world.state(reservation) is State.RESERVED


async def test_a_receipt_of_a_superseded_attempt_still_counts(world: World) -> None:
    card, _, first = await world.ready()
    receipt = await first.write(card)
    second = await world.checked(card, OTHER_KIOSK)
    await second.authorized(card)
    assert (await first.done(receipt)).state is State.USED
    assert await second.authorize(card, 2) is Refusal.RESERVATION_USED
    assert (await second.not_done()).state is State.USED


async def test_another_kiosk_cannot_touch_an_attempt(world: World) -> None:
    card, _, attempt = await world.ready()
    await attempt.authorized(card)
    attempt.kiosk = OTHER_KIOSK
    calls = [
        world.kiosks.begin(OTHER_KIOSK, attempt.id, PROCEDURE),
        attempt.check(card),
        attempt.ask(1, attempt.offers[1]),
        attempt.not_done(),
        attempt.release(),
        world.kiosks.get(OTHER_KIOSK, attempt.id),
    ]
    for call in calls:
        with pytest.raises(NotYours):
            await call


async def test_a_signature_serves_one_kiosk_one_attempt_and_one_purpose(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    attempt = await world.attempt()
    assert (await attempt.check(card, statement_for=OTHER_KIOSK)).refusal is Refusal.SIGNATURE_INVALID
    attempt = await world.attempt()
    attempt.challenge = bytes(32)
    assert (await attempt.check(card)).refusal is Refusal.SIGNATURE_INVALID


async def test_an_id_released_before_it_was_seen_is_dead(world: World) -> None:
    attempt_id = new_id()
    assert await world.kiosks.release(KIOSK, attempt_id) is None
    assert await world.kiosks.release(KIOSK, attempt_id) is None
    with pytest.raises(OutOfOrder):
        await world.kiosks.begin(KIOSK, attempt_id, PROCEDURE)
    with pytest.raises(NotYours):
        await world.kiosks.begin(OTHER_KIOSK, attempt_id, PROCEDURE)
    assert (await world.kiosks.get(KIOSK, attempt_id)).released
    with pytest.raises(NeverBegun):
        await world.kiosks.get(KIOSK, new_id())


async def test_a_number_reported_not_done_before_it_arrives_is_never_authorized(world: World) -> None:
    card, _, attempt = await world.ready()
    assert (await attempt.not_done()).state is State.RESERVED
    with pytest.raises(OutOfOrder):
        await attempt.authorize(card)
    assert (await attempt.done(await attempt.write(card, 2), 2)).state is State.USED


async def test_numbers_come_in_order_and_end_at_three(world: World) -> None:
    card, _, attempt = await world.ready()
    with pytest.raises(OutOfOrder):
        await attempt.authorize(card, 2)
    for n in (1, 2, 3):
        await attempt.authorized(card, n)
    with pytest.raises(BadContent):
        await attempt.ask(4, attempt.offers[3])


async def test_the_judgement_is_good_for_fifteen_minutes(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    late = await world.attempt()
    attempt = await world.checked(card)
    world.clock.advance(minutes(15) - datetime.timedelta(seconds=1))
    await attempt.authorized(card)
    world.clock.advance(datetime.timedelta(seconds=119))
    await attempt.authorized(card, 2)
    world.clock.advance(datetime.timedelta(seconds=120))
    assert await attempt.authorize(card, 3) is Refusal.ATTEMPT_EXPIRED
    assert (await late.check(card)).refusal is Refusal.ATTEMPT_EXPIRED


async def test_the_24_hours_are_judged_as_of_the_attempts_beginning(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    world.clock.advance(datetime.timedelta(hours=24) - datetime.timedelta(seconds=1))
    just = await world.attempt()
    world.clock.advance(datetime.timedelta(seconds=1))
    late = await world.attempt()
    assert (await late.check(card)).refusal is Refusal.RESERVATION_EXPIRED
    assert (await just.check(card)).refusal is None
    assert (await just.done(await just.write(card))).state is State.USED


async def test_hours_are_judged_at_the_beginning_only(world: World) -> None:
    card = await world.card()
    await world.reserved(card)
    world.clock.advance(datetime.timedelta(hours=10, minutes=59))
    attempt = await world.attempt()
    world.clock.advance(minutes(2))
    refused = await world.kiosks.begin(KIOSK, new_id(), PROCEDURE)
    assert isinstance(refused, ServiceStatus)
    assert refused.refusal is Refusal.OUT_OF_HOURS
    assert (await world.kiosks.status(KIOSK)).opens_at is not None
    assert (await attempt.check(card)).refusal is None


@pytest.mark.parametrize("path", [("chain-a",), ("chain-a", "store-1"), ("chain-a", "store-1", "kiosk-1")])
async def test_disabling_works_at_once_but_reports_are_taken(world: World, path: tuple[str, ...]) -> None:
    card, _, attempt = await world.ready()
    receipt = await attempt.write(card)
    await world.switch(*path, enabled=False)
    assert (await world.kiosks.status(KIOSK)).refusal is Refusal.KIOSK_NOT_ENABLED
    begun = await world.kiosks.begin(KIOSK, new_id(), PROCEDURE)
    assert not isinstance(begun, Attempt)
    assert begun.refusal is Refusal.KIOSK_NOT_ENABLED
    assert (await attempt.check(card)).refusal is Refusal.KIOSK_NOT_ENABLED
    assert await attempt.ask(1, attempt.offers[1]) is Refusal.KIOSK_NOT_ENABLED
    assert (await attempt.done(receipt)).state is State.USED
    assert await attempt.release() is State.USED
    await world.switch(*path, enabled=True)
    assert (await world.kiosks.status(KIOSK)).refusal is None


async def test_the_registry_decides_standing(world: World) -> None:
    card, _, checked = await world.ready()
    cases: list[tuple[dict[str, object], Refusal]] = [
        ({"user_revoked": True}, Refusal.CERTIFICATE_REVOKED),
        ({"user_revoked": False, "signing_revoked": True}, Refusal.CERTIFICATE_REVOKED),
        ({"signing_revoked": False, "signing_not_after": world.clock.now() - minutes(1)}, Refusal.CERTIFICATE_EXPIRED),
    ]
    for changes, refusal in cases:
        await world.change_card(card, **changes)
        assert (await (await world.attempt()).check(card)).refusal is refusal
        assert await checked.authorize(card) is refusal
        assert await world.reserve(card) is refusal


async def test_reservations_one_live_per_certificate(world: World) -> None:
    card, first, attempt = await world.ready()
    second = await world.reserved(card)
    assert await world.state(first) is State.REPLACED
    assert await attempt.authorize(card) is Refusal.RESERVATION_NOT_FOUND
    attempt = await world.checked(card)
    assert attempt.granted is not None
    assert attempt.granted.reservation_id == second.id
    await attempt.authorized(card)
    assert await world.reserve(card) is Refusal.ATTEMPT_RUNNING
    await attempt.unknown()
    third = await world.reserved(card)
    assert await world.state(second) is State.CLOSED_UNKNOWN
    assert not (await (await world.attempt()).check(card)).in_doubt
    assert await world.state(third) is State.RESERVED


async def test_a_receipt_for_a_closed_reservation_leaves_the_newer_one_alone(world: World) -> None:
    card, first, attempt = await world.ready()
    receipt = await attempt.write(card)
    await attempt.unknown()
    second = await world.reserved(card)
    report = await attempt.done(receipt)
    assert (report.verdict, report.state) == (Verdict.VALID, State.USED)
    assert await world.state(first) is State.USED
    assert await world.state(second) is State.RESERVED


async def test_without_reservation_or_registration(world: World) -> None:
    card = await world.card()
    assert (await (await world.attempt()).check(card)).refusal is Refusal.RESERVATION_NOT_FOUND
    attempt = await world.attempt()
    await attempt.check(card)
    with pytest.raises(OutOfOrder):
        await attempt.ask(1, bytes(29))
    with pytest.raises(OutOfOrder):
        await attempt.not_done()
    stranger = HeldCard.issue(world.directory, world.clock.now())
    assert (await (await world.attempt()).check(stranger)).refusal is Refusal.CARD_NOT_REGISTERED
    assert await world.reserve(stranger) is Refusal.CARD_NOT_REGISTERED


async def test_the_receipt_comes_with_done_and_only_with_it(world: World) -> None:
    card, _, attempt = await world.ready()
    await attempt.authorized(card)
    for outcome, receipt in ((Outcome.DONE, None), (Outcome.UNKNOWN, WRONG_RECEIPT), (Outcome.NOT_DONE, WRONG_RECEIPT)):
        with pytest.raises(BadContent):
            await world.kiosks.report(KIOSK, attempt.id, 1, outcome, 0, receipt)


async def test_authorized_prints_no_key(world: World) -> None:
    card, _, attempt = await world.ready()
    given = await attempt.authorize(card)
    assert isinstance(given, Authorized)
    assert given.s_enc.hex() not in repr(given)
    assert repr(given.s_mac) not in repr(given)
