"""Every screen there is, from every situation there can be: nothing here waits for anything."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
from jpkireset.gateway.v1 import gateway_service_pb2, reason_pb2, reset_service_pb2

from jpki_kiosk import screens
from jpki_kiosk.places import AGREED_AT, LEAFLETS, TABLE, Place
from jpki_kiosk.screens import NAMES, Course, Knowledge, Screen, Situation, limit_of, screen_of, unavailability
from jpki_kiosk.values import CardRequest, Outcome, Record, State, Status, View

ATTEMPT = "1a2b3c4d-0000-4000-8000-000000000000"
NOON = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
READY = Status(ready=True, kiosk_id="chain/store/kiosk")


def _names(enum: Any) -> list[str]:
    return [value.name for value in enum.DESCRIPTOR.values]


REASONS = [name.removeprefix("REASON_") for name in _names(reason_pb2.Reason)[1:]]
PROBLEMS = [name.removeprefix("READINESS_PROBLEM_") for name in _names(gateway_service_pb2.ReadinessProblem)]
INPUT_PROBLEMS = [name.removeprefix("INPUT_PROBLEM_").lower() for name in _names(reset_service_pb2.InputProblem)[1:]]
ENDINGS = ("outcome", "take_card", "end")

RUNNING: dict[tuple[State, CardRequest], str] = {
    (State.ADMITTING, CardRequest.NONE): "admitting",
    (State.WAITING_FOR_CARD, CardRequest.PLACE): "place_card",
    (State.WAITING_FOR_CARD, CardRequest.LIFT): "lift_card",
    (State.READING_CARD, CardRequest.NONE): "reading",
    (State.ENTER_USER_PIN, CardRequest.NONE): "user_pin",
    (State.ENTER_USER_PIN, CardRequest.PLACE_SAME): "card_again",
    (State.ENTER_USER_PIN, CardRequest.LIFT): "lift_card",
    (State.CHECKING_RESERVATION, CardRequest.NONE): "checking",
    (State.ENTER_NEW_PASSWORD, CardRequest.NONE): "new_password",
    (State.AUTHORIZING, CardRequest.NONE): "authorizing",
    (State.AUTHORIZING, CardRequest.PLACE_SAME): "card_again",
    (State.AUTHORIZING, CardRequest.LIFT): "lift_card",
    (State.WRITING, CardRequest.NONE): "writing",
    (State.RESOLVING, CardRequest.PLACE_SAME): "resolving",
    (State.RESOLVING, CardRequest.LIFT): "resolving_lift",
}


def of_view(
    *, confirmed: bool = False, card_was_read: bool = False, help_open: bool = False, **fields: object
) -> Screen:
    view = View(number=3, attempt_id=ATTEMPT, **fields)  # type: ignore[arg-type]
    course = Course(attempt_id=ATTEMPT, view=view, card_was_read=card_was_read)
    return screen_of(Situation(status=READY, course=course, last_try_confirmed=confirmed, help_open=help_open))


@pytest.mark.parametrize(("state", "request_"), RUNNING)
def test_each_state_of_the_daemon_has_its_screen(state: State, request_: CardRequest) -> None:
    screen = of_view(state=state, card_request=request_, cancellable=True, tries_left=3)
    assert screen.name == RUNNING[state, request_]
    assert (screen.view_number, screen.card_request, screen.receipt) == (3, request_.value, "1A2B 3C4D")
    assert screen.can_cancel == (state is not State.WRITING)
    assert screen.outcome is screen.reason is None


def test_the_table_above_names_every_state_that_runs() -> None:
    ended = {State.UNSPECIFIED, State.REMOVE_CARD, State.FINISHED}
    assert {state for state, _ in RUNNING} == set(State) - ended
    names = [name.removeprefix("STATE_").lower() for name in _names(reset_service_pb2.State)]
    assert names == [state.value for state in State]


@pytest.mark.parametrize("outcome", [None, *Outcome])
@pytest.mark.parametrize("state", State)
def test_no_screen_claims_more_than_the_daemon_says(state: State, outcome: Outcome | None) -> None:
    """Every combination of what a view may hold: the outcome on the screen is the view's, on its own screens only."""
    for request_, busy, tries, stage, doubt, knowledge in itertools.product(
        CardRequest, (False, True), (None, 0, 1, 2, 3), range(4), (False, True), Knowledge
    ):
        view = View(
            number=1,
            attempt_id=ATTEMPT,
            state=state,
            card_request=request_,
            busy=busy,
            tries_left=tries,
            stage=stage,
            in_doubt=doubt,
            outcome=outcome,
            reason="BUSY" if outcome else None,
        )
        course = Course(attempt_id=ATTEMPT, knowledge=knowledge, view=view)
        screen = screen_of(Situation(status=READY, course=course))
        assert screen.name in NAMES
        assert screen.outcome == (outcome.value if outcome else None)
        assert (screen.name in ENDINGS) == (outcome is not None)
        if outcome is None and knowledge is not Knowledge.STREAM:
            assert screen.name in ("asking_outcome", "outcome_unlearnt", "not_begun")
        if outcome is Outcome.DONE:
            assert screen.reason is None
        if screen.name == "writing":
            assert not screen.can_cancel
            assert not screen.can_extend


def test_a_state_this_version_does_not_know_claims_nothing() -> None:
    for state in (State.UNSPECIFIED, State.REMOVE_CARD, State.FINISHED):
        screen = of_view(state=state)
        assert (screen.name, screen.outcome) == ("asking_outcome", None)


@pytest.mark.parametrize(
    ("tries", "busy", "confirmed", "name"),
    [
        (3, False, False, "user_pin"),
        (2, False, False, "user_pin"),
        (1, False, False, "user_pin_last_try"),
        (1, False, True, "user_pin"),
        (1, True, True, "user_pin_busy"),
        (3, True, False, "user_pin_busy"),
    ],
)
def test_the_last_try_is_confirmed_before_the_pad_opens(tries: int, busy: bool, confirmed: bool, name: str) -> None:
    screen = of_view(state=State.ENTER_USER_PIN, tries_left=tries, busy=busy, confirmed=confirmed)
    assert (screen.name, screen.tries_left) == (name, tries)
    assert screen.can_go_back == (confirmed and not busy)


def test_a_card_asked_for_once_more_is_asked_for_in_other_words() -> None:
    for card_was_read, name in ((False, "place_card"), (True, "card_again")):
        screen = of_view(state=State.WAITING_FOR_CARD, card_request=CardRequest.PLACE, card_was_read=card_was_read)
        assert screen.name == name


@pytest.mark.parametrize(
    ("state", "request_", "step"),
    [
        (State.ENTER_USER_PIN, CardRequest.PLACE_SAME, 3),
        (State.AUTHORIZING, CardRequest.PLACE_SAME, 6),
        (State.WAITING_FOR_CARD, CardRequest.LIFT, 2),
        (State.AUTHORIZING, CardRequest.LIFT, 6),
    ],
)
def test_a_card_asked_for_in_between_leaves_the_step_where_it_is(
    state: State, request_: CardRequest, step: int
) -> None:
    assert of_view(state=state, card_request=request_).step == step


@pytest.mark.parametrize("problem", INPUT_PROBLEMS)
def test_what_was_wrong_with_the_input_is_shown(problem: str) -> None:
    state = State.ENTER_NEW_PASSWORD if problem.startswith("password") else State.ENTER_USER_PIN
    assert of_view(state=state, tries_left=2, problem=problem).problem == problem


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_told_until_the_end(reason: str) -> None:
    endings = [(State.REMOVE_CARD, stage, "take_card" if stage else "outcome") for stage in range(4)]
    endings += [(State.FINISHED, stage, "end") for stage in range(4)]
    for (state, stage, name), outcome in itertools.product(endings, (Outcome.NOT_DONE, Outcome.UNKNOWN)):
        screen = of_view(state=state, stage=stage, outcome=outcome, reason=reason, card_request=CardRequest.LIFT)
        assert (screen.name, screen.outcome, screen.reason) == (name, outcome.value, reason)
        assert screen.stage == (stage if name == "take_card" else 0)
        assert not screen.can_cancel
        assert screen.card_request == ("none" if name == "end" else "lift")


def test_the_reminder_grows_louder_in_stages() -> None:
    def sound(stage: int) -> tuple[str | None, int | None]:
        screen = of_view(state=State.REMOVE_CARD, stage=stage, outcome=Outcome.DONE)
        return screen.sound, screen.sound_every_s

    assert [sound(stage) for stage in range(4)] == [("chime", None), ("chime", 8), ("attention", 8), ("staff", 60)]


def record(state: State, outcome: Outcome | None = None, reason: str | None = None) -> Record:
    return Record(attempt_id=ATTEMPT, state=state, outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("known", "card_present", "name", "outcome"),
    [
        (None, True, "asking_outcome", None),
        (record(State.WRITING), True, "asking_outcome", None),
        (record(State.FINISHED), False, "asking_outcome", None),
        (record(State.REMOVE_CARD, Outcome.DONE), True, "outcome", "done"),
        (record(State.FINISHED, Outcome.DONE), False, "end", "done"),
        (record(State.FINISHED, Outcome.DONE), True, "outcome", "done"),  # a restarted daemon waits for no card
        (record(State.FINISHED, Outcome.NOT_DONE, "CLIENT_GONE"), False, "end", "not_done"),
        (record(State.FINISHED, Outcome.UNKNOWN, "OUTCOME_UNRESOLVED"), False, "end", "unknown"),
    ],
)
def test_after_a_lost_stream_only_the_record_tells_the_outcome(
    known: Record | None, card_present: bool, name: str, outcome: str | None
) -> None:
    writing = View(number=9, attempt_id=ATTEMPT, state=State.WRITING, expires_at=NOON)
    course = Course(attempt_id=ATTEMPT, knowledge=Knowledge.ASKING, view=writing, record=known)
    status = Status(ready=False, card_present=card_present)
    screen = screen_of(Situation(status=status, course=course))
    assert (screen.name, screen.outcome) == (name, outcome)
    assert screen.view_number is None, "a lost stream takes no answer"
    assert screen.expires_at == (NOON if outcome else None)
    assert not screen.can_cancel


@pytest.mark.parametrize(
    ("knowledge", "name"),
    [
        (Knowledge.ASKING, "asking_outcome"),
        (Knowledge.SILENT, "outcome_unlearnt"),
        (Knowledge.NEVER_BEGUN, "not_begun"),
    ],
)
def test_what_cannot_be_learnt_is_said(knowledge: Knowledge, name: str) -> None:
    screen = screen_of(Situation(course=Course(attempt_id=ATTEMPT, knowledge=knowledge)))
    assert (screen.name, screen.outcome, screen.receipt) == (name, None, "1A2B 3C4D")


def test_an_outcome_that_was_told_stays_told_when_the_daemon_goes() -> None:
    removing = View(number=9, attempt_id=ATTEMPT, state=State.REMOVE_CARD, outcome=Outcome.DONE)
    for knowledge in (Knowledge.ASKING, Knowledge.SILENT):
        course = Course(attempt_id=ATTEMPT, knowledge=knowledge, view=removing)
        screen = screen_of(Situation(status=None, course=course))
        assert (screen.name, screen.outcome) == ("outcome", "done")


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_readiness_problem_has_its_screen(problem: str) -> None:
    for place in Place:
        screen = screen_of(Situation(place=place, status=Status(ready=False, problems=(problem,))))
        if place in LEAFLETS:
            assert screen.name == place.value
        else:
            assert screen.name in screens.UNAVAILABLE_NAMES
            assert screen.problem == (problem.lower() if problem != "UNSPECIFIED" else None)


def test_what_a_person_can_do_something_about_comes_first() -> None:
    for pair in itertools.combinations(screens.UNAVAILABLE, 2):
        found = unavailability(Status(ready=False, problems=pair[::-1]))
        assert found == (screens.UNAVAILABLE[pair[0]], pair[0].lower())


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (None, "daemon_down"),
        (Status(ready=True, running_attempt_id=ATTEMPT), "busy_elsewhere"),
        (Status(ready=False, running_attempt_id=ATTEMPT, problems=("DRAINING",)), "busy_elsewhere"),
        (Status(ready=False), "machine_trouble"),
        (Status(ready=False, problems=("NEW_IN_A_LATER_VERSION",)), "machine_trouble"),
        (READY, "idle"),
    ],
)
def test_an_attempt_is_offered_only_when_one_could_begin(status: Status | None, name: str) -> None:
    assert screen_of(Situation(status=status)).name == name


@pytest.mark.parametrize("place", Place)
def test_the_places_before_an_attempt(place: Place) -> None:
    screen = screen_of(Situation(place=place, status=READY))
    assert screen.name == place.value
    assert screen.can_go_back == ((place, "back") in TABLE)
    assert screen.can_cancel == (place is not Place.IDLE)
    assert screen.can_help
    assert screen_of(Situation(place=place, status=READY, help_open=True)).name == "help"


def test_from_every_place_the_citizen_gets_out_and_to_the_terms() -> None:
    reached = {Place.IDLE}
    for _ in Place:
        reached |= {target for (place, _press), target in TABLE.items() if place in reached}
    assert reached == set(Place)
    assert {Place.TERMS, Place.TERMS_FULL} == AGREED_AT
    for place in set(Place) - {Place.IDLE}:
        assert TABLE[place, "cancel"] is Place.IDLE


def test_help_covers_what_waits_for_the_citizen_and_nothing_else() -> None:
    for (state, request_), name in RUNNING.items():
        screen = of_view(state=state, card_request=request_, tries_left=3, help_open=True)
        helped = name in ("place_card", "card_again", "lift_card", "user_pin", "new_password")
        assert (screen.name == "help") == helped
        assert of_view(state=state, card_request=request_, tries_left=3).can_help == helped
    ended = of_view(state=State.REMOVE_CARD, outcome=Outcome.DONE, help_open=True)
    assert ended.name == "outcome"


def test_help_over_a_running_limit_can_ask_for_more_time() -> None:
    screen = of_view(state=State.ENTER_USER_PIN, tries_left=3, cancellable=True, help_open=True)
    assert (screen.can_extend, screen.can_cancel) == (True, True)


def test_more_time_is_offered_where_the_daemon_gives_it() -> None:
    extended = {
        name
        for (state, request_), name in RUNNING.items()
        if of_view(state=state, card_request=request_, tries_left=3).can_extend
    }
    assert extended == {"place_card", "card_again", "user_pin", "new_password"}
    assert of_view(state=State.ENTER_USER_PIN, tries_left=1).can_extend


def test_times_are_shown_as_japan_reads_them() -> None:
    status = Status(ready=True, opens_at=NOON, closes_at=NOON)
    course = Course(
        attempt_id=ATTEMPT,
        view=View(number=1, attempt_id=ATTEMPT, state=State.ENTER_NEW_PASSWORD, expires_at=NOON),
    )
    screen = screen_of(Situation(status=status, course=course))
    for time in (screen.expires_at, screen.opens_at, screen.closes_at):
        assert time is not None
        assert time.isoformat() == "2026-11-22T12:00:00+09:00"


@pytest.mark.parametrize(
    ("screen", "silent", "seconds"),
    [
        (Screen(name="end", template="", outcome="done"), False, 5.0),
        (Screen(name="end", template="", outcome="not_done"), False, 60.0),
        (Screen(name="end", template="", outcome="unknown"), False, 60.0),
        (Screen(name="outcome", template="", outcome="done"), False, None),
        (Screen(name="take_card", template="", outcome="done"), False, None),
        (Screen(name="take_card", template="", outcome="done"), True, 60.0),
        (Screen(name="outcome_unlearnt", template=""), True, 90.0),
        (Screen(name="not_begun", template=""), False, 60.0),
        (Screen(name="user_pin", template=""), False, None),
        (Screen(name="writing", template=""), False, None),
        (Screen(name="asking_outcome", template=""), False, None),
    ],
)
def test_what_ends_by_itself(screen: Screen, silent: bool, seconds: float | None) -> None:
    assert limit_of(screen, silent=silent) == seconds


def test_no_screen_is_out_of_reach() -> None:
    situations = [Situation(place=place, status=READY) for place in Place]
    situations += [Situation(status=Status(ready=False, problems=(problem,))) for problem in PROBLEMS]
    situations += [Situation(), Situation(status=Status(ready=True, running_attempt_id=ATTEMPT))]
    situations += [Situation(help_open=True), Situation(course=Course(attempt_id=ATTEMPT))]
    situations += [Situation(course=Course(attempt_id=ATTEMPT, knowledge=knowledge)) for knowledge in Knowledge]
    reached = {screen_of(situation).name for situation in situations}
    reached |= {
        of_view(state=state, card_request=request_, busy=busy, tries_left=tries, outcome=outcome, stage=stage).name
        for state, request_, busy, tries, outcome, stage in itertools.product(
            State, CardRequest, (False, True), (1, 3), (None, Outcome.DONE), (0, 1)
        )
    }
    assert reached | {screens.page_in_use().name} == set(NAMES)
