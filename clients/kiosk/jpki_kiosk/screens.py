"""Which screen is shown in which situation: pure, and by tables.

`screen_of` makes one `Screen` of a `Situation`. A screen says done only when the daemon's view or record says done,
「変わっていません」 only when it says not done; where nobody has said how an attempt ended, the screen says just that.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from jpki_kiosk.places import LEAFLETS, TABLE, Place
from jpki_kiosk.values import CardRequest, Outcome, Record, State, Status, View

JAPAN = datetime.timezone(datetime.timedelta(hours=9), "JST")  # Asia/Tokyo, which keeps no summer time


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Everything a template may show, and nothing else."""

    name: str  # one of NAMES
    template: str  # file in templates/
    step: int | None = None  # 1 確認 2 カード 3 暗証番号 4 予約の確認 5 新しいパスワード 6 書き込み 7 カードを取る
    view_number: int | None = None
    tries_left: int | None = None  # of the user PIN, 0-3
    problem: str | None = None  # "user_pin_wrong" …; on an unavailable screen the readiness problem, "reader_stuck" …
    stage: int = 0  # 0-3, of the reminder of the card
    seconds_left: int | None = None  # until the screen ends by itself
    can_cancel: bool = False
    can_go_back: bool = False
    can_extend: bool = False  # `more-time` means something here
    can_help: bool = False  # `help` means something here
    card_request: str = "none"  # none, place, place_same, lift
    busy: bool = False
    outcome: str | None = None  # done, not_done, unknown
    reason: str | None = None  # "BUSY" …; only beside not_done and unknown
    in_doubt: bool = False
    expires_at: datetime.datetime | None = None  # these three in Asia/Tokyo
    opens_at: datetime.datetime | None = None
    closes_at: datetime.datetime | None = None
    receipt: str | None = None  # 受付番号, "1A2B 3C4D"
    notice: str | None = None  # "no_card_yet"
    kiosk_id: str = ""
    sound: str | None = None  # chime, attention, staff
    sound_every_s: int | None = None  # None: once


@dataclass(frozen=True, slots=True)
class Kind:
    """What all screens of a name have in common."""

    template: str
    step: int | None = None
    sound: str | None = None


KINDS: Mapping[str, Kind] = {
    # before 「同意する」
    "idle": Kind("idle.html"),
    "services": Kind("services.html"),
    "procedure": Kind("procedure.html"),
    "checklist": Kind("checklist.html", 1),
    "terms": Kind("terms.html", 1),
    "terms_full": Kind("terms_full.html", 1),
    "help": Kind("help.html"),
    "help_reserve": Kind("help_reserve.html"),
    "help_counter": Kind("help_counter.html"),
    "page_in_use": Kind("page_in_use.html"),
    # instead of them: no attempt could begin
    "out_of_hours": Kind("unavailable.html"),
    "maintenance": Kind("unavailable.html"),
    "not_enabled": Kind("unavailable.html"),
    "machine_trouble": Kind("unavailable.html"),
    "central_trouble": Kind("unavailable.html"),
    "card_left_behind": Kind("unavailable.html"),
    "busy_elsewhere": Kind("unavailable.html"),
    "daemon_down": Kind("unavailable.html"),
    # an attempt
    "admitting": Kind("busy.html", 2),
    "place_card": Kind("place_card.html", 2),
    "reading": Kind("busy.html", 2),
    "user_pin": Kind("user_pin.html", 3),
    "user_pin_last_try": Kind("user_pin_last_try.html", 3),
    "user_pin_busy": Kind("busy.html", 3),
    "card_again": Kind("card_again.html", 2, "attention"),
    "lift_card": Kind("lift_card.html", 2, "attention"),
    "checking": Kind("busy.html", 4),
    "new_password": Kind("new_password.html", 5),
    "authorizing": Kind("busy.html", 6),
    "writing": Kind("busy.html", 6),
    "resolving": Kind("resolving.html", 6, "attention"),
    "resolving_lift": Kind("resolving.html", 6, "attention"),
    # its end
    "outcome": Kind("outcome.html", 7, "chime"),
    "take_card": Kind("outcome.html", 7),
    "end": Kind("outcome.html", 7),
    # its end when the stream was lost: asked for; not to be had; the daemon never began it
    "asking_outcome": Kind("busy.html", 6),
    "outcome_unlearnt": Kind("outcome_unlearnt.html", 7, "attention"),
    "not_begun": Kind("not_begun.html", 7),
}

NAMES = tuple(KINDS)

# Each readiness problem's screen, the first that holds wins: what a person can do something about comes first.
UNAVAILABLE: Mapping[str, str] = {
    "CARD_LEFT_BEHIND": "card_left_behind",
    "READER_STUCK": "machine_trouble",
    "READER_UNAVAILABLE": "machine_trouble",
    "PCSC_UNAVAILABLE": "machine_trouble",
    "JOURNAL_UNAVAILABLE": "machine_trouble",
    "DRAINING": "machine_trouble",
    "KIOSK_NOT_ENABLED": "not_enabled",
    "MAINTENANCE": "maintenance",
    "OUT_OF_HOURS": "out_of_hours",
    "CENTRAL_UNAVAILABLE": "central_trouble",
}
UNAVAILABLE_NAMES = frozenset({*UNAVAILABLE.values(), "busy_elsewhere", "daemon_down"})

# What a state looks like when neither a card nor a confirmation is asked for.
_BY_STATE: Mapping[State, str] = {
    State.ADMITTING: "admitting",
    State.WAITING_FOR_CARD: "place_card",
    State.READING_CARD: "reading",
    State.ENTER_USER_PIN: "user_pin",
    State.CHECKING_RESERVATION: "checking",
    State.ENTER_NEW_PASSWORD: "new_password",
    State.AUTHORIZING: "authorizing",
    State.WRITING: "writing",
    State.RESOLVING: "resolving",
}
_BEFORE_WRITING = frozenset(_BY_STATE) - {State.WRITING, State.RESOLVING}
_STEP_OF_STATE: Mapping[State, int | None] = {state: KINDS[name].step for state, name in _BY_STATE.items()}

# The daemon's own table: these restart their limit on `more-time`.
_EXTENDABLE = frozenset({"place_card", "card_again", "user_pin", "user_pin_last_try", "new_password"})

# Screens that help may cover: those that wait for the citizen, before the card is changed.
HELPED = (
    UNAVAILABLE_NAMES
    | {place.value for place in Place}
    | {
        *("place_card", "card_again", "lift_card", "user_pin", "user_pin_last_try", "new_password"),
    }
)

# (stage of the reminder) → sound, and seconds between its repetitions.
_REMINDERS: Mapping[int, tuple[str, int]] = {1: ("chime", 8), 2: ("attention", 8), 3: ("staff", 60)}

# Screens that end by themselves after a time of ours, in seconds; everything else in an attempt has the daemon's limit.
END_LIMIT_S: Mapping[str, float] = {"outcome_unlearnt": 90.0, "not_begun": 60.0}
DONE_LIMIT_S = 5.0
NOT_DONE_LIMIT_S = 60.0


class Knowledge(Enum):
    """How an attempt's present state is known."""

    STREAM = auto()  # the daemon sends views
    ASKING = auto()  # the stream was lost; the daemon is asked for its record
    SILENT = auto()  # nobody has answered for too long; it is still asked
    NEVER_BEGUN = auto()  # the daemon never accepted it


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is known of the visit's attempt."""

    attempt_id: str
    knowledge: Knowledge = Knowledge.STREAM
    view: View | None = None  # the newest
    record: Record | None = None  # newer than every view
    card_was_read: bool = False  # so that a card asked for once more is asked for in other words
    stage: int = 0  # of the reminder, when the daemon's record says that the card lies there

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, if the daemon has said so."""
        if self.record and self.record.outcome:
            return self.record.outcome
        return self.view.outcome if self.view else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a screen is made of."""

    place: Place = Place.IDLE
    status: Status | None = None  # None: the daemon does not answer
    course: Course | None = None
    card_lies: bool = False  # the daemon ended the attempt without waiting for the card, and it was last seen there
    help_open: bool = False
    last_try_confirmed: bool = False
    notice: str | None = None


def screen_of(situation: Situation) -> Screen:
    """Return the screen of a situation, without its seconds."""
    screen = _course_screen(situation, situation.course) if situation.course else _front_screen(situation)
    status = situation.status
    return replace(
        screen,
        can_help=screen.name in HELPED,
        notice=situation.notice,
        kiosk_id=status.kiosk_id if status else "",
        opens_at=_japanese(status.opens_at) if status else None,
        closes_at=_japanese(status.closes_at) if status else None,
    )


def page_in_use() -> Screen:
    """Return what a second page is shown."""
    return _screen("page_in_use")


def leaves_card(situation: Situation) -> bool:
    """Say whether a daemon that is being stopped has ended the attempt while its card lies there; it waits for none."""
    view, status = situation.course.view if situation.course else None, situation.status
    ended = view is not None and view.state is State.FINISHED
    if status is None:
        return ended and situation.card_lies
    return ended and status.card_present and (situation.card_lies or "DRAINING" in status.problems)


def unavailability(status: Status | None) -> tuple[str, str | None] | None:
    """Return the screen that stands where no attempt could begin, with the problem's name; None when one could."""
    if status is None:
        return "daemon_down", None
    if status.running_attempt_id:
        return "busy_elsewhere", None
    if status.ready:
        return None
    found = next((problem for problem in UNAVAILABLE if problem in status.problems), None)
    return (UNAVAILABLE[found], found.lower()) if found else ("machine_trouble", None)


def receipt_of(attempt_id: str) -> str:
    """Return the number a citizen may tell the help desk: it finds the attempt, and is of no use to anyone else."""
    return f"{attempt_id[:4]} {attempt_id[4:8]}".upper()


def _front_screen(situation: Situation) -> Screen:
    place = situation.place
    if situation.help_open:
        return _screen("help")
    if place not in LEAFLETS and (closed := unavailability(situation.status)):
        name, problem = closed
        return replace(_screen(name), problem=problem, can_cancel=place is not Place.IDLE)
    return replace(
        _screen(place.value),
        can_cancel=(place, "cancel") in TABLE,
        can_go_back=(place, "back") in TABLE,
        can_extend=place is not Place.IDLE,
    )


def _course_screen(situation: Situation, course: Course) -> Screen:
    name = _name_of(situation, course)
    screen = replace(_screen(name), receipt=receipt_of(course.attempt_id))
    if course.knowledge is Knowledge.STREAM and course.view:
        screen = _with_view(screen, course.view)
    if name in ("outcome", "take_card", "end"):
        screen = _with_outcome(screen, course)
    if name == "user_pin" and situation.last_try_confirmed:
        screen = replace(screen, can_go_back=True)
    if situation.help_open and name in HELPED:
        kind = KINDS["help"]
        screen = replace(screen, name="help", template=kind.template, step=kind.step, sound=None)
    return screen


def _name_of(situation: Situation, course: Course) -> str:
    if course.outcome:
        return _ending(situation, course)
    if course.knowledge is Knowledge.NEVER_BEGUN:
        return "not_begun"
    if course.knowledge is Knowledge.SILENT:
        return "outcome_unlearnt"
    if course.knowledge is Knowledge.ASKING:
        return "asking_outcome"
    if course.view is None:
        return "admitting"
    return _running(situation, course, course.view)


def _ending(situation: Situation, course: Course) -> str:
    state = course.record.state if course.record else course.view.state if course.view else State.UNSPECIFIED
    lies_there = state is not State.FINISHED or situation.card_lies
    if course.record and situation.status:  # a restarted daemon has no attempt any more that would wait for the card
        lies_there = situation.status.card_present
    if not lies_there:
        return "end"
    return "take_card" if _stage(course) else "outcome"


def _running(situation: Situation, course: Course, view: View) -> str:
    if view.state in _BEFORE_WRITING:
        if view.card_request is CardRequest.LIFT:
            return "lift_card"
        if view.state is State.WAITING_FOR_CARD:
            return "card_again" if course.card_was_read else "place_card"
        if view.card_request is not CardRequest.NONE:
            return "card_again"
    if view.state is State.RESOLVING and view.card_request is CardRequest.LIFT:
        return "resolving_lift"
    if view.state is State.ENTER_USER_PIN:
        if view.busy:
            return "user_pin_busy"
        if view.tries_left == 1 and not situation.last_try_confirmed:
            return "user_pin_last_try"
    return _BY_STATE.get(view.state, "asking_outcome")  # an end without an outcome claims nothing


def _with_view(screen: Screen, view: View) -> Screen:
    in_between = screen.name in ("card_again", "lift_card")
    return replace(
        screen,
        view_number=view.number,
        step=_STEP_OF_STATE.get(view.state) if in_between else screen.step,
        tries_left=view.tries_left,
        problem=view.problem,
        can_cancel=view.cancellable and screen.name != "writing",
        can_extend=screen.name in _EXTENDABLE,
        card_request=view.card_request.value,
        busy=view.busy,
        in_doubt=view.in_doubt,
        expires_at=_japanese(view.expires_at),
    )


def _with_outcome(screen: Screen, course: Course) -> Screen:
    reason = course.record.reason if course.record and course.record.outcome else course.view and course.view.reason
    stage = _stage(course) if screen.name == "take_card" else 0
    sound, every_s = _REMINDERS.get(stage, (screen.sound, None))
    return replace(
        screen,
        outcome=course.outcome.value if course.outcome else None,
        reason=None if course.outcome is Outcome.DONE else reason or "INTERNAL",
        stage=stage,
        card_request="none" if screen.name == "end" else "lift",
        can_cancel=False,
        busy=False,
        sound=sound,
        sound_every_s=every_s,
        expires_at=_japanese(course.view.expires_at) if course.view else None,
    )


def _stage(course: Course) -> int:
    return course.stage if course.record or not course.view else course.view.stage


def _screen(name: str) -> Screen:
    kind = KINDS[name]
    busy = kind.template == "busy.html"
    return Screen(name=name, template=kind.template, step=kind.step, sound=kind.sound, busy=busy)


def _japanese(time: datetime.datetime | None) -> datetime.datetime | None:
    return time.astimezone(JAPAN) if time else None


def limit_of(screen: Screen, *, silent: bool) -> float | None:
    """Return the seconds after which a screen of an attempt ends by itself; None where only the daemon has a limit.

    `silent`: the daemon has not answered for too long, so that nobody will say when the card is gone.
    """
    if screen.name == "end" or (silent and screen.outcome):
        return DONE_LIMIT_S if screen.outcome == Outcome.DONE.value and not silent else NOT_DONE_LIMIT_S
    return END_LIMIT_S.get(screen.name)
