"""Whole attempts on the daemon's own session layer, with every ending that needs no fault of the hardware."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from gatewayd.central.port import Authorization, Refusal, Refused, ReservationState
from gatewayd.dialogue.events import ClientGone
from gatewayd.dialogue.table import ATTEMPT_LIMIT_S, RESOLVE_LIMIT_S
from gatewayd.dialogue.vocabulary import CardRequest, InputProblem, Outcome, Reason, State
from gatewayd.errors import CentralRejected, CentralUnavailable, JournalUnavailable
from gatewayd.secret import Secret
from gatewayd.session.manager import AttemptKnown
from gatewayd.session.session import Session
from gatewayd.session.view import View
from tests.fakes.kiosk import NEW_PASSWORD, PIN, Citizen, Kiosk, references

WRONG = b"0000"
EXTERNAL_AUTHENTICATE = b"\x84\x82"  # CLA, INS (docs/CARD-PROTOCOL.md)


def states(views: list[View]) -> list[State]:
    """The states in order, each once for a run of it."""
    seen = [view.shown.state for view in views]
    return seen[:1] + [after for before, after in pairwise(seen) if after is not before]


async def test_a_whole_reset(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card())
    before = references(citizen.card)
    last = await citizen.do(await kiosk.open())
    assert states(citizen.views) == [
        State.ADMITTING,
        State.WAITING_FOR_CARD,
        State.READING_CARD,
        State.ENTER_USER_PIN,
        State.CHECKING_RESERVATION,
        State.ENTER_NEW_PASSWORD,
        State.AUTHORIZING,
        State.WRITING,
        State.REMOVE_CARD,
        State.FINISHED,
    ]
    assert (last.shown.outcome, last.shown.reason) == (Outcome.DONE, None)
    after = references(citizen.card)
    assert after.pop("signing_password") == (NEW_PASSWORD, 5)
    before.pop("signing_password")
    assert after == before
    assert citizen.verifications() == 1
    assert len(kiosk.reader.exchanges) <= 45
    await kiosk.settled()
    assert await kiosk.central.get_attempt("attempt-1") is ReservationState.USED
    assert kiosk.manager.session is None
    record = await kiosk.journal.attempt("attempt-1")
    assert record is not None
    assert (record.outcome, record.reason) == ("done", None)
    numbers = [view.number for view in citizen.views]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_card_set_early_is_welcome(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card())
    await kiosk.until(lambda: kiosk.manager._known)
    kiosk.reader.insert(citizen.card)
    await kiosk.until(lambda: kiosk.manager._known and kiosk.manager._known.card_present)
    last = await citizen.do(await kiosk.open())
    assert last.shown.outcome is Outcome.DONE
    assert State.WAITING_FOR_CARD not in states(citizen.views)


async def test_wrong_pins_are_counted_shown_and_end_locked(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card(), pins=[WRONG])
    last = await citizen.do(await kiosk.open())
    assert last.shown.reason is Reason.USER_PIN_LOCKED
    assert citizen.verifications() == citizen.presses == 3
    problems = [(v.shown.user_pin_tries, v.shown.input_problem) for v in citizen.views if v.shown.input_problem]
    assert problems == [(2, InputProblem.USER_PIN_WRONG), (1, InputProblem.USER_PIN_WRONG)]
    citizen.check(last)


async def test_a_wrong_pin_and_then_the_right_one(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card(), pins=[WRONG, PIN])
    last = await citizen.do(await kiosk.open())
    assert last.shown.outcome is Outcome.DONE
    assert [call[0] for call in kiosk.central.calls].count("begin_attempt") == 1


async def test_a_locked_pin_ends_before_anything_is_asked(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card("user-pin-locked"))
    last = await citizen.do(await kiosk.open())
    assert last.shown.reason is Reason.USER_PIN_LOCKED
    assert citizen.presses == citizen.verifications() == 0


@pytest.mark.parametrize("call", ["begin_attempt", "check_reservation", "authorize_reset"])
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal.KIOSK_NOT_ENABLED, Reason.KIOSK_NOT_ENABLED),
        (Refusal.RESERVATION_USED, Reason.RESERVATION_USED),
        (Refusal.SIGNATURE_INVALID, Reason.CARD_NOT_GENUINE),
    ],
)
async def test_a_no_of_the_centre_ends_the_attempt(kiosk: Kiosk, call: str, refusal: Refusal, reason: Reason) -> None:
    kiosk.central.refusals[call] = refusal
    citizen = Citizen(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.NOT_DONE, reason)
    citizen.check(last)
    await kiosk.settled()
    assert ("release_attempt", "attempt-1") in kiosk.central.calls


@pytest.mark.parametrize("call", ["service_status", "begin_attempt", "check_reservation", "authorize_reset"])
@pytest.mark.parametrize("lost", [False, True])
async def test_a_silent_centre_ends_the_attempt_unchanged(kiosk: Kiosk, call: str, lost: bool) -> None:
    (kiosk.central.lost if lost else kiosk.central.failures)[call] = CentralUnavailable("deadline")
    citizen = Citizen(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.NOT_DONE, Reason.CENTRAL_UNAVAILABLE)
    citizen.check(last)
    await kiosk.settled()
    assert await kiosk.central.get_attempt("attempt-1") in (ReservationState.RESERVED, ReservationState.NONE)


@pytest.mark.parametrize("call", ["begin_attempt", "check_reservation", "authorize_reset"])
async def test_a_centre_that_refuses_the_call_itself_ends_the_attempt_unchanged(kiosk: Kiosk, call: str) -> None:
    kiosk.central.failures[call] = CentralRejected("failed_precondition")
    citizen = Citizen(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.NOT_DONE, Reason.INTERNAL)
    citizen.check(last)


@pytest.mark.parametrize("part", ["external_authenticate", "s_mac"])
async def test_an_authorisation_whose_parts_do_not_belong_together_is_the_centres_fault(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    authorize = kiosk.central.authorize_reset
    wrong = Secret(bytes(16)) if part == "s_mac" else bytes.fromhex("8482130010") + bytes(16)

    async def lying(attempt_id: str, n: int, card_answer: bytes) -> Authorization | Refused:
        answer = await authorize(attempt_id, n, card_answer)
        assert isinstance(answer, Authorization)
        return replace(answer, **{part: wrong})  # type: ignore[arg-type]

    monkeypatch.setattr(kiosk.central, "authorize_reset", lying)
    citizen = Citizen(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.NOT_DONE, Reason.CENTRAL_UNAVAILABLE)
    citizen.check(last)
    assert [call[0] for call in kiosk.central.calls].count("authorize_reset") == 1
    assert EXTERNAL_AUTHENTICATE not in [exchange.command[:2] for exchange in kiosk.reader.exchanges]
    await kiosk.settled()
    assert await kiosk.central.get_attempt("attempt-1") is ReservationState.RESERVED


async def test_no_reservation(kiosk: Kiosk) -> None:
    citizen = Citizen(kiosk, kiosk.card(reserved=False))
    last = await citizen.do(await kiosk.open())
    assert last.shown.reason is Reason.RESERVATION_NOT_FOUND
    citizen.check(last)


async def test_a_silent_centre_after_the_write_is_done_by_the_counter(kiosk: Kiosk) -> None:
    kiosk.central.failures["report_outcome"] = CentralUnavailable("deadline")
    citizen = Citizen(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert last.shown.outcome is Outcome.DONE
    del kiosk.central.failures["report_outcome"]
    await kiosk.settled()
    assert await kiosk.central.get_attempt("attempt-1") is ReservationState.USED


async def test_in_doubt_a_silent_centre_is_no_done(kiosk: Kiosk) -> None:
    kiosk.central.failures["report_outcome"] = CentralUnavailable("deadline")
    citizen = Citizen(kiosk, kiosk.card(in_doubt=True))
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)


async def test_in_doubt_a_silent_centre_is_not_resolved_for_ever(kiosk: Kiosk) -> None:
    seen: dict[State, float] = {}

    class Idle(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            seen.setdefault(view.shown.state, kiosk.clock.monotonic())
            if view.shown.state is not State.RESOLVING:
                super().answer(session, view)

    kiosk.central.failures["report_outcome"] = CentralUnavailable("deadline")
    citizen = Idle(kiosk, kiosk.card(in_doubt=True))
    last = await citizen.do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)
    (resolving,) = [view for view in citizen.views if view.shown.state is State.RESOLVING]
    assert resolving.seconds_left == pytest.approx(RESOLVE_LIMIT_S)
    assert seen[State.REMOVE_CARD] - seen[State.RESOLVING] == pytest.approx(RESOLVE_LIMIT_S, abs=3)


async def test_in_doubt_a_cancel_is_no_not_done(kiosk: Kiosk) -> None:
    class Leaving(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is State.ENTER_NEW_PASSWORD:
                assert view.shown.in_doubt
                session.submit_cancel(view.number)
            else:
                super().answer(session, view)

    last = await Leaving(kiosk, kiosk.card(in_doubt=True)).do(await kiosk.open())
    assert last.shown.outcome is Outcome.UNKNOWN


async def test_a_doubt_that_the_journal_cannot_take_is_no_not_done(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: str) -> None:
        raise JournalUnavailable("full")

    monkeypatch.setattr(kiosk.journal, "doubted", full)
    last = await Citizen(kiosk, kiosk.card(in_doubt=True)).do(await kiosk.open())
    assert (last.shown.outcome, last.shown.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNRESOLVED)


async def test_a_cancel_while_the_doubt_is_entered_says_what_the_journal_says(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted = kiosk.journal.doubted
    session = await kiosk.open()

    async def doubted_and_cancelled(attempt_id: str) -> None:
        await doubted(attempt_id)
        session.submit_cancel(session.view.number)

    monkeypatch.setattr(kiosk.journal, "doubted", doubted_and_cancelled)
    last = await Citizen(kiosk, kiosk.card(in_doubt=True)).do(session)
    record = await kiosk.journal.attempt("attempt-1")
    assert record is not None
    assert (last.shown.outcome, record.outcome) == (Outcome.UNKNOWN, "unknown")
    said = {"outcome": "unknown", "reason": "outcome_unresolved"}
    assert kiosk.metrics.registry.get_sample_value("gatewayd_attempts_total", said) == 1
    assert kiosk.metrics.registry.get_sample_value("gatewayd_attempts_total", said | {"outcome": "not_done"}) is None


async def test_a_receipt_that_the_centre_took_meanwhile_ends_done(kiosk: Kiosk) -> None:
    """In doubt a silent centre is no done; when the card is placed again, the centre says that it knows."""

    class Waiting(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is not State.RESOLVING:
                super().answer(session, view)
            elif kiosk.reader.card is not None:
                kiosk.reader.remove()
                kiosk.central.failures.clear()

    kiosk.central.failures["report_outcome"] = CentralUnavailable("deadline")
    citizen = Waiting(kiosk, kiosk.card(in_doubt=True))
    session = await kiosk.open()
    doing = asyncio.create_task(citizen.do(session))
    await kiosk.until(lambda: session.view.shown.state is State.RESOLVING and kiosk.reader.card is None)
    await kiosk.settled()
    kiosk.reader.insert(citizen.card)
    last = await doing
    assert last.shown.outcome is Outcome.DONE
    assert len([one for one in kiosk.reader.exchanges if one.command[:2] == b"\x04\x2c"]) == 1
    assert kiosk.reader.current is None


@pytest.mark.parametrize("state", [State.WAITING_FOR_CARD, State.ENTER_USER_PIN, State.ENTER_NEW_PASSWORD])
@pytest.mark.parametrize("gone", [False, True])
async def test_cancel_and_client_gone_while_a_person_is_asked(kiosk: Kiosk, state: State, gone: bool) -> None:
    class Leaving(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is not state:
                super().answer(session, view)
            elif gone:
                session.tell(ClientGone())
            else:
                session.submit_cancel(view.number)

    citizen = Leaving(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert last.shown.reason is (Reason.CLIENT_GONE if gone else Reason.CANCELLED)
    citizen.check(last)
    await kiosk.settled()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.WAITING_FOR_CARD, Reason.NO_CARD),
        (State.ENTER_USER_PIN, Reason.TIMED_OUT),
        (State.ENTER_NEW_PASSWORD, Reason.TIMED_OUT),
    ],
)
async def test_a_person_who_does_nothing_is_not_waited_for_for_ever(kiosk: Kiosk, state: State, reason: Reason) -> None:
    class Idle(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is not state:
                super().answer(session, view)

    last = await Idle(kiosk, kiosk.card()).do(await kiosk.open())
    assert last.shown.reason is reason


async def test_more_time_begins_the_limit_anew(kiosk: Kiosk) -> None:
    session = await kiosk.open()
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
    await kiosk.clock.advance(50)
    session.submit_more_time(session.view.number)
    await kiosk.until(lambda: session.view.number == 3)
    assert session.view.seconds_left == pytest.approx(60, abs=3)
    await kiosk.clock.advance(50)
    assert session.view.shown.state is State.WAITING_FOR_CARD


async def test_more_time_is_no_more_than_the_attempt_has(kiosk: Kiosk) -> None:
    began = kiosk.clock.monotonic()
    session = await kiosk.open()
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
    while kiosk.clock.monotonic() - began < ATTEMPT_LIMIT_S - 20:
        session.submit_more_time(session.view.number)
        await kiosk.clock.advance(40)
    last = session.view.number
    session.submit_more_time(last)
    await kiosk.until(lambda: session.view.number > last)
    assert session.view.seconds_left == pytest.approx(began + ATTEMPT_LIMIT_S - kiosk.clock.monotonic(), abs=3)
    await kiosk.until(lambda: session.view.shown.state is State.FINISHED)
    assert session.view.shown.reason is Reason.TIMED_OUT


async def test_fifty_presses_on_one_view_are_one_verify(kiosk: Kiosk) -> None:
    class Hasty(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is State.ENTER_USER_PIN and not view.shown.busy:
                for _ in range(50):
                    super().answer(session, view)
            else:
                super().answer(session, view)

    citizen = Hasty(kiosk, kiosk.card(), pins=[WRONG] + [PIN] * 60)
    session = await kiosk.open()
    await citizen.do(session)
    assert citizen.verifications() == 2  # the first of the first fifty, and the first of the second
    assert citizen.presses == 100


async def test_a_card_lifted_while_typing_is_asked_for_again(kiosk: Kiosk) -> None:
    class Lifting(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is State.ENTER_NEW_PASSWORD and kiosk.reader.card is not None:
                kiosk.reader.remove()
            super().answer(session, view)

    citizen = Lifting(kiosk, kiosk.card())
    last = await citizen.do(await kiosk.open())
    assert last.shown.outcome is Outcome.DONE
    assert CardRequest.PLACE_SAME in [view.shown.card_request for view in citizen.views]
    assert citizen.verifications() == 1


@pytest.mark.parametrize("state", [State.ENTER_USER_PIN, State.ENTER_NEW_PASSWORD])
async def test_another_card_gets_no_counted_command(kiosk: Kiosk, state: State) -> None:
    other = kiosk.card()

    class Swapping(Citizen):
        swapped = False

        def answer(self, session, view):  # type: ignore[no-untyped-def]
            if view.shown.state is state and not self.swapped and not view.shown.busy:
                self.swapped = True
                kiosk.reader.remove()
                kiosk.reader.insert(other.link.card)
            super().answer(session, view)

    citizen = Swapping(kiosk, kiosk.card())
    before = references(other.link.card)
    last = await citizen.do(await kiosk.open())
    assert last.shown.reason is Reason.DIFFERENT_CARD
    assert references(other.link.card) == before
    citizen.check(last)


async def test_an_id_that_is_started_twice_at_once_is_one_attempt(kiosk: Kiosk) -> None:
    first, second = await asyncio.gather(
        kiosk.manager.open("attempt-1"), kiosk.manager.open("attempt-1"), return_exceptions=True
    )
    assert isinstance(first, Session)
    assert isinstance(second, AttemptKnown), "an attempt that runs was said to have ended"


async def test_an_id_whose_ending_waits_for_the_journal_begins_nothing(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        async def fails_from_now_on(*_: object) -> None:
            patch.setattr(kiosk.journal, "attempt", fails_from_now_on)
            raise JournalUnavailable("gone")

        patch.setattr(kiosk.journal, "accept", fails_from_now_on)
        refused = await kiosk.manager.open("attempt-1")
        assert isinstance(refused, View)
        await kiosk.clock.advance(1)
    again = await kiosk.manager.open("attempt-1")
    assert isinstance(again, View), "an ending of the first start would be entered for the second"
    assert again.shown.reason is Reason.JOURNAL_UNAVAILABLE
    await kiosk.until(lambda: not kiosk.outbox.is_to_end("attempt-1"))
    assert await kiosk.journal.attempt("attempt-1") is None
    assert (await Citizen(kiosk, kiosk.card()).do(await kiosk.open())).shown.outcome is Outcome.DONE


class Forgetful(Citizen):
    """Leaves the card behind."""

    def answer(self, session: Session, view: View) -> None:
        if view.shown.state is not State.REMOVE_CARD:
            super().answer(session, view)


async def test_only_one_attempt_at_a_time_and_the_card_must_go(kiosk: Kiosk) -> None:
    session = await kiosk.open()
    refused = await kiosk.manager.open("attempt-2")
    assert isinstance(refused, View)
    assert refused.shown.reason is Reason.BUSY
    with pytest.raises(AttemptKnown):
        await kiosk.manager.open("attempt-1")
    citizen = Forgetful(kiosk, kiosk.card())
    doing = asyncio.create_task(citizen.do(session))
    await kiosk.until(lambda: session.view.shown.state is State.REMOVE_CARD)
    asked = kiosk.clock.monotonic()
    await kiosk.until(lambda: session.view.shown.reminder_stage == 3)
    waited = kiosk.clock.monotonic() - asked
    assert waited > 80
    # Citizen and test both move time on, so what is measured here may lag; a gauge that began anew would say 0.
    assert kiosk.metrics.registry.get_sample_value("gatewayd_card_removal_seconds") == pytest.approx(waited, abs=20)
    refused = await kiosk.manager.open("attempt-3")
    assert isinstance(refused, View)
    assert refused.shown.reason is Reason.CARD_LEFT_BEHIND
    kiosk.reader.remove()
    last = await doing
    assert last.shown.outcome is Outcome.DONE
    with pytest.raises(AttemptKnown):
        await kiosk.manager.open("attempt-1")


async def test_a_card_that_pcscd_lost_sight_of_still_has_to_go(kiosk: Kiosk) -> None:
    """After a restart of pcscd it looks like a new card; the next citizen must not type a PIN for it."""
    session = await kiosk.open()
    citizen = Forgetful(kiosk, kiosk.card())
    doing = asyncio.create_task(citizen.do(session))
    await kiosk.until(lambda: session.view.shown.state is State.REMOVE_CARD)
    for attempt_id in ("attempt-2", "attempt-3"):
        kiosk.reader.lose_service()
        await asyncio.sleep(0)
        kiosk.reader.restore()
        await kiosk.until(lambda: kiosk.manager.session is None)
        refused = await kiosk.manager.open(attempt_id)
        assert isinstance(refused, View)
        assert refused.shown.reason is Reason.CARD_LEFT_BEHIND
    assert (await doing).shown.outcome is Outcome.DONE
    kiosk.reader.remove()
    await kiosk.until(lambda: not kiosk.manager.card_left_behind)
    await kiosk.open("attempt-4")


async def test_a_drain_refuses_new_attempts_and_ends_the_running_one(kiosk: Kiosk) -> None:
    session = await kiosk.open()
    await kiosk.until(lambda: session.view.shown.state is State.WAITING_FOR_CARD)
    kiosk.manager.drain()
    await kiosk.until(lambda: kiosk.manager.session is None)
    assert session.view.shown.reason is Reason.DRAINING
    refused = await kiosk.manager.open("attempt-2")
    assert isinstance(refused, View)
    assert refused.shown.reason is Reason.DRAINING


async def test_secrets_are_wiped_at_the_end(kiosk: Kiosk) -> None:
    session = await kiosk.open()
    kept: list[bytearray] = []

    class Watching(Citizen):
        def answer(self, session, view):  # type: ignore[no-untyped-def]
            super().answer(session, view)
            secrets = (session._performer.pin, session._performer.change.password)
            kept.extend(secret._value for secret in secrets if secret is not None)

    await Watching(kiosk, kiosk.card()).do(session)
    assert kept
    assert not any(kept)
    assert session._performer.pin is None
    assert session._performer.change.password is None


async def test_the_last_view_is_told_however_long_the_tail_takes(kiosk: Kiosk) -> None:
    """A front-end that comes for the next view while the ending is being journalled waits for the last one."""
    kiosk.central.refusals["service_status"] = Refusal.OUT_OF_HOURS
    session = await kiosk.open()
    views = session.views()
    told = [await anext(views)]
    await kiosk.until(lambda: session._dialogue.finished)
    told += [view async for view in views]
    assert states(told) == [State.ADMITTING, State.FINISHED]
