"""The visit: where the citizen stands, what was pressed, when it ends by itself. The one shell around the pure half."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace

from jpki_kiosk import places, preferences
from jpki_kiosk.attempt import Attempt
from jpki_kiosk.clock import Clock
from jpki_kiosk.gateway import Gateway
from jpki_kiosk.memory import Memory
from jpki_kiosk.places import Place
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.screens import UNAVAILABLE_NAMES, Course, Knowledge, Screen, Situation, leaves_card, limit_of, screen_of
from jpki_kiosk.sight import Sight
from jpki_kiosk.values import CardRequest

TICK_S = 0.5
RECORD_GOOD_S = 600.0  # after a restart, an ending older than this is nobody's any more

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page is to draw."""

    screen: Screen
    preferences: Preferences
    serial: int  # grows with every screen that a press could have been meant for
    limit: int  # grows when a limit begins anew
    visit: int  # grows when a citizen's visit ends: everything of it is to be wiped


class Kiosk:
    """The screen of one machine. Every input names the serial it answers, and is dropped when a newer one is shown."""

    def __init__(self, gateway: Gateway, memory: Memory, clock: Clock, languages: Collection[str]) -> None:
        self._gateway = gateway
        self._memory = memory
        self._clock = clock
        self._languages = languages
        self._sight = Sight(gateway, changed=self._change, gone=self._leave_attempt)
        self._attempt: Attempt | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        self._faulted: asyncio.Future[None] | None = None
        self._place = Place.IDLE
        self._preferences = Preferences()
        self._help_open = self._last_try_confirmed = self._card_lies = False
        self._notice: str | None = None
        self._visit = self._limit = self._serial = 1
        self._since = clock.monotonic()
        self._setting: object = None
        self._position: object = None
        self._bells: set[asyncio.Event] = set()
        self._closed = False
        self._shown = self._draw()

    @property
    def shown(self) -> Shown:
        """What is drawn now, with the seconds as of now."""
        left = self._seconds_left()
        return replace(
            self._shown, screen=replace(self._shown.screen, seconds_left=None if left is None else int(left))
        )

    async def watch(self) -> AsyncIterator[Shown]:
        """Yield what is drawn now, and after every change."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            while not self._closed:
                bell.clear()
                yield self.shown
                await bell.wait()
        finally:
            self._bells.discard(bell)

    def close(self) -> None:
        """End every watch: the server stops."""
        self._closed = True
        self._ring()

    async def run(self) -> None:
        """Follow the daemon and the time, for as long as the server runs."""
        self._faulted = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sight.follow())
                group.create_task(self._sight.probe())
                group.create_task(self._tick())
                group.create_task(self._fault())
                self._resume()
        finally:
            self._leave_attempt()
            for task in self._attempts:
                task.cancel()

    async def press(self, name: str, serial: int) -> bool:
        """Take the press of a plain button; say whether it meant something."""
        if (wanted := preferences.changed(self._preferences, name, self._languages)) is not None:
            self._preferences = wanted
            self._begin_limit_anew()
            return True
        if serial != self._shown.serial:
            return False
        screen = self._shown.screen
        match name:
            case "help" if screen.can_help:
                self._help_open = True
            case "close-help" if screen.name == "help":
                self._help_open = False
            case "more-time" if screen.can_extend:
                if self._attempt:
                    return await self._attempt.ask_for_more_time()
            case "retry" if screen.name in UNAVAILABLE_NAMES or screen.name == "outcome_unlearnt":
                self._sight.look_now()
                if self._attempt:
                    self._attempt.ask_now()
            case _:
                return await self._press_in_attempt(name) if self._attempt else self._press_before(name)
        self._begin_limit_anew()
        return True

    async def enter_user_pin(self, value: bytearray, serial: int) -> bool:
        """Send the 4-digit PIN to the daemon, once for a view; say whether it was sent. The caller wipes the value."""
        if serial != self._shown.serial or self._shown.screen.name != "user_pin" or not self._attempt:
            return False
        return await self._attempt.enter_user_pin(value, last_try_confirmed=self._last_try_confirmed)

    async def enter_new_password(self, value: bytearray, serial: int) -> bool:
        """Send the new password to the daemon, once for a view; say whether it was sent. The caller wipes the value."""
        if serial != self._shown.serial or self._shown.screen.name != "new_password" or not self._attempt:
            return False
        return await self._attempt.enter_new_password(value)

    def lost_page(self) -> None:
        """Take note that nobody is there: no page has beaten for too long."""
        if self._attempt is None:
            if self._place is not Place.IDLE or self._help_open or self._preferences != Preferences():
                self._end_visit()
        elif self._attempt.streaming:
            log.warning("page lost", extra={"attempt_id": self._attempt.id})
            self._leave_attempt()

    def tick(self) -> None:
        """End what has lasted too long, and draw what time alone has changed."""
        left = self._own_seconds_left()
        if left is not None and left <= 0:
            self._end_visit()
        self._change()

    def _press_before(self, name: str) -> bool:
        closed = self._shown.screen.name in UNAVAILABLE_NAMES
        if name == places.AGREE and self._place in places.AGREED_AT and not closed:
            self._begin_attempt(Attempt(str(uuid.uuid4()), self._gateway, self._memory, self._clock, self._change))
            return True
        place = places.TABLE.get((self._place, name))
        if place is None or (closed and name != "cancel") or self._help_open:
            return False
        if place is Place.IDLE:
            self._end_visit()
        else:
            self._place = place
            self._begin_limit_anew()
        return True

    async def _press_in_attempt(self, name: str) -> bool:
        assert self._attempt is not None
        screen = self._shown.screen
        match name:
            case "cancel" if screen.can_cancel:
                return await self._attempt.cancel()
            case "finish" if screen.name in ("end", "outcome_unlearnt", "not_begun"):
                self._end_visit()
                return True
            case "next" if screen.name in ("place_card", "card_again"):  # presence alone moves the daemon on
                self._notice = "no_card_yet"
            case "confirm-last-try" if screen.name == "user_pin_last_try":
                self._last_try_confirmed = True
            case "back" if screen.can_go_back:
                self._last_try_confirmed = False
            case _:
                return False
        self._change()
        return True

    def _begin_attempt(self, attempt: Attempt) -> None:
        log.info("attempt begins", extra={"attempt_id": attempt.id})
        self._attempt = attempt
        task = asyncio.create_task(self._run_attempt(attempt))
        self._attempts.add(task)
        task.add_done_callback(self._attempt_ended)
        self._change()

    async def _run_attempt(self, attempt: Attempt) -> None:
        await attempt.run()
        record = attempt.course.record
        if record and record.ended_at and attempt is self._attempt:
            age = (self._clock.now() - record.ended_at).total_seconds()
            if age > RECORD_GOOD_S:
                self._end_visit()
        self._change()

    def _attempt_ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._faulted and not self._faulted.done():
            self._faulted.set_exception(error)

    async def _fault(self) -> None:
        """A fault of ours ends the server: its successor asks the daemon what became of the attempt."""
        assert self._faulted is not None
        await self._faulted

    def _resume(self) -> None:
        remembered = self._memory.load()
        if remembered:
            attempt_id = remembered.attempt_id
            self._begin_attempt(
                Attempt(attempt_id, self._gateway, self._memory, self._clock, self._change, remembered=remembered)
            )

    def _leave_attempt(self) -> None:
        if self._attempt:
            self._attempt.leave()

    def _end_visit(self) -> None:
        if self._attempt:
            self._leave_attempt()
            self._attempt = None
            for task in self._attempts:
                task.cancel()
        self._memory.forget()
        self._place = Place.IDLE
        self._preferences = Preferences()
        self._visit += 1
        self._begin_limit_anew()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def _begin_limit_anew(self) -> None:
        self._since = self._clock.monotonic()
        self._limit += 1
        self._change()

    def _own_seconds_left(self) -> float | None:
        """Until a limit of ours ends the visit; the daemon's limits are its own affair."""
        limit = places.LIMIT_S if self._place is not Place.IDLE or self._preferences != Preferences() else None
        if self._attempt:
            limit = limit_of(self._shown.screen, silent=self._nobody_will_tell(self._attempt.course))
        return None if limit is None else limit - (self._clock.monotonic() - self._since)

    def _nobody_will_tell(self, course: Course | None) -> bool:
        """Whether the daemon is away, so that nobody says when the card is gone."""
        silent = course is not None and course.knowledge is Knowledge.SILENT
        return silent or (self._card_lies and self._sight.status is None)

    def _seconds_left(self) -> float | None:
        left = self._own_seconds_left()
        if left is None and self._attempt:
            left = self._attempt.seconds_left
        return None if left is None else max(0.0, left)

    def _change(self) -> None:
        """Draw anew after anything has happened."""
        view = self._attempt.course.view if self._attempt else None
        card = view.card_request if view else CardRequest.NONE
        setting = (self._visit, self._place, view and (view.state, card, view.busy, view.outcome))
        if setting != self._setting:  # what was said about the one before holds no more
            self._setting = setting
            self._help_open = self._last_try_confirmed = False
            self._notice = None
        drawn = self._draw()
        if drawn != self._shown:
            self._shown = drawn
            self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    def _draw(self) -> Shown:
        course = self._attempt.course if self._attempt else None
        situation = Situation(
            place=self._place,
            status=self._sight.status,
            course=course,
            card_lies=self._card_lies,
            help_open=self._help_open,
            last_try_confirmed=self._last_try_confirmed,
            notice=self._notice,
        )
        self._card_lies = leaves_card(situation)
        screen = screen_of(replace(situation, card_lies=self._card_lies))
        position = (self._visit, screen.name, screen.view_number, self._nobody_will_tell(course))
        if position != self._position:
            self._position = position
            self._serial += 1
            self._since = self._clock.monotonic()
        return Shown(screen, self._preferences, self._serial, self._limit, self._visit)
