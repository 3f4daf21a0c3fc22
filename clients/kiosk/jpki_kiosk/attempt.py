"""The visit's attempt: its stream while there is one, the daemon's record of it from then on.

A stream that is lost never becomes an outcome: the daemon is asked until it has told one. The server holds the stream,
not the page, so that a page may be loaded anew in the middle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from jpki_kiosk.clock import Clock
from jpki_kiosk.gateway import BrokenCall, Conversation, Gateway, NoSuchAttempt
from jpki_kiosk.memory import Memory, MemoryUnusable, Remembered
from jpki_kiosk.screens import Course, Knowledge
from jpki_kiosk.values import Record, State, View

ASK_EVERY_S = 1.0
SILENT_AFTER_S = 60.0  # without an answer, the screen stops saying that it is being asked for
NEVER_BEGUN_AFTER = 2  # answers that the id is not known: one could be early, when the start was on its way
REMINDERS_S: Mapping[int, float] = {3: 90.0, 2: 30.0, 1: 8.0}  # as the daemon reminds, when it has no stream for it

log = logging.getLogger(__name__)


class Attempt:
    """One attempt. `run` it once; `changed` is called after everything that may change a screen."""

    def __init__(
        self,
        attempt_id: str,
        gateway: Gateway,
        memory: Memory,
        clock: Clock,
        changed: Callable[[], None],
        *,
        remembered: Remembered | None = None,
    ) -> None:
        """Take a new attempt, or one that is remembered from before a restart."""
        self.id = attempt_id
        self._gateway = gateway
        self._memory = memory
        self._clock = clock
        self._changed = changed
        self._remembered = remembered
        self._accepted = bool(remembered and remembered.accepted)
        self._conversation: Conversation | None = None
        self._knowledge = Knowledge.ASKING if remembered else Knowledge.STREAM
        self._view: View | None = None
        self._view_at = 0.0
        self._record: Record | None = None
        self._told_at: float | None = None
        self._card_was_read = False
        self._answered = 0  # number of the view that a secret was sent for
        self._wake = asyncio.Event()

    @property
    def course(self) -> Course:
        """What is known of it now."""
        return Course(
            attempt_id=self.id,
            knowledge=self._knowledge,
            view=self._view,
            record=self._record,
            card_was_read=self._card_was_read,
            stage=self._stage(),
        )

    @property
    def streaming(self) -> bool:
        """Whether the daemon sends views."""
        return self._conversation is not None

    @property
    def seconds_left(self) -> float | None:
        """Until the daemon ends the present state by itself."""
        if not self.streaming or self._view is None or self._view.seconds_left is None:
            return None
        return max(0.0, self._view.seconds_left - (self._clock.monotonic() - self._view_at))

    async def run(self) -> None:
        """Hold the stream, then ask until the daemon has told the end; returns when nothing can change any more."""
        if self._remembered is None and await self._stream():
            return
        await self._ask()

    def leave(self) -> None:
        """Let the stream go, as a client that is no more: what the daemon makes of it is asked for."""
        if self._conversation:
            self._conversation.leave()

    def ask_now(self) -> None:
        """Ask for the record without waiting for the next turn."""
        self._wake.set()

    async def enter_user_pin(self, value: bytearray, *, last_try_confirmed: bool) -> bool:
        """Send the PIN for the present view, once; say whether it was sent."""
        if not (found := self._once()):
            return False
        conversation, number = found
        return await _sent(conversation.enter_user_pin(number, value, last_try_confirmed=last_try_confirmed))

    async def enter_new_password(self, value: bytearray) -> bool:
        """Send the new password for the present view, once; say whether it was sent."""
        if not (found := self._once()):
            return False
        conversation, number = found
        return await _sent(conversation.enter_new_password(number, value))

    async def ask_for_more_time(self) -> bool:
        """Send the wish for more time; say whether it was sent."""
        if not (self._conversation and self._view):
            return False
        return await _sent(self._conversation.ask_for_more_time(self._view.number))

    async def cancel(self) -> bool:
        """Send the cancel; say whether it was sent."""
        if not (self._conversation and self._view):
            return False
        return await _sent(self._conversation.cancel(self._view.number))

    async def _stream(self) -> bool:
        """Return whether the stream brought the attempt to its end."""
        self._remember(accepted=False)
        self._conversation = self._gateway.converse()
        code = "the stream ended early"
        try:
            async for view in self._conversation.views(self.id):
                self._take(view)
        except BrokenCall as error:
            code = error.code
        except NoSuchAttempt:
            code = "NOT_FOUND"
        finally:
            self._conversation.leave()
            self._conversation = None
        if self._view and self._view.state is State.FINISHED:
            log.info("attempt ended", extra={"attempt_id": self.id, **_ending(self._view)})
            return True
        log.warning("stream lost", extra={"attempt_id": self.id, "code": code})
        self._knowledge = Knowledge.ASKING
        self._changed()
        return False

    def _take(self, view: View) -> None:
        self._view = view
        self._view_at = self._clock.monotonic()
        self._card_was_read = self._card_was_read or view.state is State.READING_CARD
        if not self._accepted and view.state is not State.FINISHED:
            self._accepted = True
            self._remember(accepted=True)
        self._changed()

    async def _ask(self) -> None:
        heard_at = self._clock.monotonic()
        unknown = 0
        while True:
            self._wake.clear()
            try:
                self._learn(await self._gateway.record(self.id))
                heard_at = self._clock.monotonic()
            except NoSuchAttempt:
                unknown += 1
            except BrokenCall:
                pass
            if self._record and self._record.state is State.FINISHED and self._record.outcome:
                log.info("attempt's record told", extra={"attempt_id": self.id, **_ending(self._record)})
                return
            if unknown >= NEVER_BEGUN_AFTER and not self._accepted:
                log.info("attempt never begun", extra={"attempt_id": self.id})
                self._knowledge = Knowledge.NEVER_BEGUN
                self._changed()
                return
            if self._clock.monotonic() - heard_at >= SILENT_AFTER_S and self._knowledge is not Knowledge.SILENT:
                log.error("outcome not to be had", extra={"attempt_id": self.id})
                self._knowledge = Knowledge.SILENT
                self._changed()
            try:
                async with asyncio.timeout(ASK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _learn(self, record: Record) -> None:
        self._record = record
        self._knowledge = Knowledge.ASKING
        self._accepted = True
        if record.outcome and self._told_at is None:
            self._told_at = self._clock.monotonic()
        self._changed()

    def _stage(self) -> int:
        if self._told_at is None:
            return 0
        lying = self._clock.monotonic() - self._told_at
        return next((stage for stage, after in REMINDERS_S.items() if lying >= after), 0)

    def _once(self) -> tuple[Conversation, int] | None:
        if self._conversation is None or self._view is None or self._answered == self._view.number:
            return None
        self._answered = self._view.number
        return self._conversation, self._view.number

    def _remember(self, *, accepted: bool) -> None:
        try:
            self._memory.save(Remembered(self.id, accepted))
        except MemoryUnusable as error:  # a restart could not tell the outcome; the attempt itself needs no memory
            log.error("not remembered: %s", error)  # noqa: TRY400 - the message says it all


async def _sent(answer: Awaitable[None]) -> bool:
    try:
        await answer
    except (BrokenCall, NoSuchAttempt):  # the stream ended; its reading side learns why
        return False
    return True


def _ending(known: View | Record) -> dict[str, str]:
    return {"outcome": known.outcome.value if known.outcome else "none", "reason": known.reason or ""}
