"""What the journal lets be entered, and what follows from it."""

from __future__ import annotations

import pytest

from gatewayd.journal.store import Journal
from tests.unit.gatewayd.journal.entries import (
    ATTEMPT,
    CHAINING_VALUE,
    OTHER,
    R_MAC,
    done,
    start,
)


async def test_a_whole_attempt(journal: Journal) -> None:
    await start(journal, writes=1)
    item = await journal.result(ATTEMPT, 1, "done", chaining_value=CHAINING_VALUE, r_mac=R_MAC)
    assert (item.kind, item.n, item.outcome, item.chaining_value, item.r_mac) == (
        "report",
        1,
        "done",
        CHAINING_VALUE,
        R_MAC,
    )
    assert await journal.pending() == [item]
    await journal.acknowledged(item.item_id)
    assert await journal.pending() == []
    await journal.finish(ATTEMPT, "done", None)

    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.procedure, record.outcome, record.reason, record.resolution) == (
        "signing_password",
        "done",
        None,
        None,
    )
    assert record.ended_at is not None
    assert record.started_at <= record.ended_at
    assert record.started_at.utcoffset() is not None
    assert await journal.unresolved() == []
    assert await journal.pending() == []


async def test_an_id_is_accepted_once(journal: Journal) -> None:
    assert await journal.accept(ATTEMPT, "signing_password")
    before = await journal.attempt(ATTEMPT)
    assert not await journal.accept(ATTEMPT, "something_else")
    assert await journal.attempt(ATTEMPT) == before
    assert await journal.attempt(OTHER) is None


async def test_a_release_is_queued_only_for_an_id_the_centre_has_heard(journal: Journal) -> None:
    await journal.accept(ATTEMPT, "signing_password")
    await journal.finish(ATTEMPT, "not_done", "cancelled")
    assert await journal.pending() == []

    await start(journal, OTHER)
    await journal.finish(OTHER, "not_done", "cancelled")
    await journal.finish(OTHER, "not_done", "cancelled")
    (item,) = await journal.pending()
    assert (item.attempt_id, item.kind, item.n) == (OTHER, "release", 0)
    assert item.queued_at is not None


async def test_the_same_result_is_the_same_report(journal: Journal) -> None:
    await start(journal, writes=1)
    first = await done(journal)
    assert await done(journal) == first
    await journal.acknowledged(first)
    await journal.acknowledged(first)
    assert await done(journal) == first
    assert await journal.pending() == []


async def test_unknown_may_become_definite_once(journal: Journal) -> None:
    await start(journal, writes=1)
    unknown = await journal.result(ATTEMPT, 1, "unknown")
    await journal.finish(ATTEMPT, "unknown", "no_answer")
    late = await done(journal)
    assert [item.item_id for item in await journal.pending()] == [unknown.item_id, late]
    with pytest.raises(ValueError, match="definite"):
        await journal.result(ATTEMPT, 1, "not_done", status_word=0x6985)
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert record.outcome == "unknown"


async def test_a_write_that_was_not_handed_over_is_not_done_and_the_next_follows(journal: Journal) -> None:
    await start(journal, writes=1, intended=False)
    await journal.authorizing(ATTEMPT, 1)  # the card was lifted before the centre was asked
    await journal.result(ATTEMPT, 1, "not_done")
    with pytest.raises(ValueError, match="cannot be asked"):
        await journal.authorizing(ATTEMPT, 1)
    await journal.authorizing(ATTEMPT, 2)
    await journal.intend(ATTEMPT, 2)
    await done(journal, 2)
    await journal.finish(ATTEMPT, "done", None)


async def test_nothing_goes_back(journal: Journal) -> None:
    await start(journal, writes=1)
    with pytest.raises(ValueError, match="intended"):
        await journal.intend(ATTEMPT, 1)
    with pytest.raises(ValueError, match="cannot be asked"):
        await journal.authorizing(ATTEMPT, 1)
    with pytest.raises(ValueError, match="never asked"):
        await journal.authorizing(ATTEMPT, 3)
    with pytest.raises(ValueError, match="never asked"):
        await journal.intend(ATTEMPT, 2)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "internal")
    await done(journal)
    with pytest.raises(ValueError, match="definite"):
        await journal.result(ATTEMPT, 1, "unknown")
    with pytest.raises(ValueError, match="another result"):
        await journal.result(ATTEMPT, 1, "done", chaining_value=CHAINING_VALUE[::-1], r_mac=R_MAC)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "cancelled")
    await journal.finish(ATTEMPT, "done", None)
    for outcome, reason in (("not_done", "cancelled"), ("unknown", "internal"), ("done", "cancelled")):
        with pytest.raises(ValueError, match="otherwise"):
            await journal.finish(ATTEMPT, outcome, reason)
    with pytest.raises(ValueError, match="has ended"):
        await journal.begun(ATTEMPT)
    with pytest.raises(ValueError, match="resolved"):
        await journal.resolve(ATTEMPT, "done")


@pytest.mark.parametrize("outcome", ["done", "unknown"])
async def test_no_effect_without_intent(journal: Journal, outcome: str) -> None:
    await start(journal, writes=1, intended=False)
    receipt = {"chaining_value": CHAINING_VALUE, "r_mac": R_MAC} if outcome == "done" else {}
    with pytest.raises(ValueError, match="never handed"):
        await journal.result(ATTEMPT, 1, outcome, **receipt)  # type: ignore[arg-type]


async def test_no_claim_without_a_write(journal: Journal) -> None:
    await start(journal)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "done", None)
    with pytest.raises(ValueError, match="no such"):
        await journal.finish(OTHER, "not_done", "cancelled")


@pytest.mark.parametrize(
    ("outcome", "chaining_value", "r_mac"),
    [
        ("done", b"", b""),
        ("done", CHAINING_VALUE, R_MAC[:-1]),
        ("done", CHAINING_VALUE[:-1], R_MAC),
        ("unknown", CHAINING_VALUE, R_MAC),
        ("not_done", b"", R_MAC),
    ],
)
async def test_a_receipt_is_whole_or_absent(
    journal: Journal, outcome: str, chaining_value: bytes, r_mac: bytes
) -> None:
    await start(journal, writes=1)
    with pytest.raises(ValueError, match="receipt"):
        await journal.result(ATTEMPT, 1, outcome, chaining_value=chaining_value, r_mac=r_mac)


async def test_an_unknown_attempt_is_listed_until_it_is_resolved(journal: Journal) -> None:
    for attempt_id in (OTHER, ATTEMPT):
        await start(journal, attempt_id, writes=1)
        await journal.result(attempt_id, 1, "unknown")
        await journal.finish(attempt_id, "unknown", "no_answer")
    assert [record.attempt_id for record in await journal.unresolved()] == [OTHER, ATTEMPT]
    await journal.resolve(OTHER, "not_done")
    await journal.resolve(OTHER, "not_done")
    with pytest.raises(ValueError, match="unresolved"):
        await journal.resolve(OTHER, "closed_unknown")
    await journal.resolve(OTHER, "done")  # the card's receipt came late
    with pytest.raises(ValueError, match="unresolved"):
        await journal.resolve(OTHER, "not_done")
    (left,) = await journal.unresolved()
    assert left.attempt_id == ATTEMPT


async def refuse(journal: Journal, item_id: int, how: str) -> None:
    if how == "rejected":
        await journal.rejected(item_id, "failed_precondition")
    else:
        await journal.acknowledged(item_id, "invalid")


@pytest.mark.parametrize("how", ["invalid", "rejected"])
async def test_a_refused_receipt_is_no_ground_for_done(journal: Journal, how: str) -> None:
    await start(journal, writes=1)
    await refuse(journal, await done(journal), how)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "done", None)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    assert [record.attempt_id for record in await journal.unresolved()] == [ATTEMPT]


@pytest.mark.parametrize("how", ["invalid", "rejected"])
async def test_a_claim_whose_receipt_is_refused_is_withdrawn(journal: Journal, how: str) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)
    await journal.finish(ATTEMPT, "done", None)
    await refuse(journal, item_id, how)
    (record,) = await journal.unresolved()
    assert (record.outcome, record.reason, record.resolution) == ("unknown", "outcome_unresolved", None)
    events = [(entry.event, entry.n, entry.detail) for entry in await journal.timeline(ATTEMPT)]
    assert ("finished", 0, "done") in events  # what the citizen was told stays in the record
    assert events[-1] == ("doubted", 0, "unknown outcome_unresolved")
    await journal.resolve(ATTEMPT, "done")
    assert await journal.unresolved() == []


async def test_a_refused_receipt_beside_a_good_one_withdraws_nothing(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.acknowledged(await done(journal), "invalid")
    await journal.authorizing(ATTEMPT, 2)
    await journal.intend(ATTEMPT, 2)
    await journal.acknowledged(await done(journal, 2), "valid")
    await journal.finish(ATTEMPT, "done", None)
    assert await journal.unresolved() == []


async def test_a_valid_receipt_resolves_whatever_was_said_before(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "unknown")
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    await journal.resolve(ATTEMPT, "closed_unknown")
    await journal.acknowledged(await done(journal), "valid")
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.resolution) == ("unknown", "done")


async def test_a_receipt_found_valid_before_the_end_resolves_what_ends_unknown(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.acknowledged(await done(journal), "valid")
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    record = await journal.attempt(ATTEMPT)
    assert record is not None
    assert (record.outcome, record.resolution) == ("unknown", "done")
    assert await journal.unresolved() == []


async def test_a_write_that_was_asked_for_and_not_made_is_released_behind_an_unknown_one(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "unknown")
    await journal.authorizing(ATTEMPT, 2)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    assert [(item.kind, item.n) for item in await journal.pending()] == [("report", 1), ("release", 0)]


async def test_attempts_are_listed_newest_first_and_in_pages(journal: Journal) -> None:
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(5)]
    for attempt_id in ids:
        await start(journal, attempt_id)
        outcome = "unknown" if attempt_id in ids[1:3] else "not_done"
        await journal.finish(attempt_id, outcome, "cancelled")

    async def listed(before: str | None, *, unresolved_only: bool = False) -> list[str]:
        records = await journal.attempts(unresolved_only=unresolved_only, limit=2, before=before)
        return [record.attempt_id for record in records]

    assert await listed(None) == [ids[4], ids[3]]
    assert await listed(ids[3]) == [ids[2], ids[1]]
    assert await listed(ids[1]) == [ids[0]]
    assert await listed(ids[0]) == []
    assert await listed(None, unresolved_only=True) == [ids[2], ids[1]]
    assert await listed("never accepted") == []


async def test_the_timeline_tells_every_durable_step(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.result(ATTEMPT, 1, "not_done", status_word=0x6985)
    await journal.doubted(ATTEMPT)
    await journal.finish(ATTEMPT, "unknown", "outcome_unresolved")
    report, release = await journal.pending()
    await journal.acknowledged(report.item_id)
    await journal.rejected(release.item_id, "withheld")
    await journal.resolve(ATTEMPT, "done")
    entries = await journal.timeline(ATTEMPT)
    assert [(entry.event, entry.n, entry.detail) for entry in entries] == [
        ("accepted", 0, "signing_password"),
        ("begun", 0, ""),
        ("authorizing", 1, ""),
        ("intended", 1, ""),
        ("result", 1, "not_done 6985"),
        ("doubted", 0, ""),
        ("finished", 0, "unknown outcome_unresolved"),
        ("acknowledged", 1, "report not_done"),
        ("rejected", 0, "release withheld"),
        ("resolved", 0, "done"),
    ]
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert await journal.timeline(OTHER) == []


async def test_a_rejected_item_stays_and_is_marked(journal: Journal) -> None:
    await start(journal, writes=1)
    item_id = await done(journal)
    await journal.rejected(item_id, "failed_precondition")
    (item,) = await journal.pending()
    assert item.rejected == "failed_precondition"
    with pytest.raises(ValueError, match="item"):
        await journal.rejected(item_id + 1, "failed_precondition")


async def test_an_attempt_that_ends_with_a_write_in_the_air_reports_it_as_unknown(journal: Journal) -> None:
    await start(journal, writes=1)
    await journal.finish(ATTEMPT, "unknown", "journal_unavailable")
    (item,) = await journal.pending()
    assert (item.kind, item.n, item.outcome) == ("report", 1, "unknown")


async def test_a_doubtful_reservation_is_never_not_done(journal: Journal) -> None:
    await start(journal)
    await journal.doubted(ATTEMPT)
    await journal.doubted(ATTEMPT)
    with pytest.raises(ValueError, match="contradicts"):
        await journal.finish(ATTEMPT, "not_done", "cancelled")
    await journal.finish(ATTEMPT, "unknown", "cancelled")
    assert [record.attempt_id for record in await journal.unresolved()] == [ATTEMPT]
