"""What a view asks the person, and how the person is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from jpkireset.gateway.v1.reset_service_pb2 import (
    CARD_REQUEST_NONE,
    CARD_REQUEST_UNSPECIFIED,
    STATE_ENTER_NEW_PASSWORD,
    STATE_ENTER_USER_PIN,
    Cancel,
    MoreTime,
    NewPassword,
    ResetPasswordRequest,
    UserPin,
    View,
)

from gatewayctl import texts
from gatewayctl.terminal import Terminal


class Kind(Enum):
    """What is asked for."""

    USER_PIN = auto()
    NEW_PASSWORD = auto()


@dataclass(frozen=True, slots=True)
class Question:
    """Two views that ask the same question are equal here: the newer one need not interrupt the typing."""

    kind: Kind
    last_try: bool = False


def question_of(view: View) -> Question | None:
    """Return what the view waits for, None when it takes no input but a cancel."""
    if view.busy:
        return None
    if view.state == STATE_ENTER_NEW_PASSWORD:
        return Question(Kind.NEW_PASSWORD)
    card_is_wanted = view.card_request not in {CARD_REQUEST_UNSPECIFIED, CARD_REQUEST_NONE}
    if view.state == STATE_ENTER_USER_PIN and not card_is_wanted:
        return Question(Kind.USER_PIN, last_try=view.HasField("user_pin_tries_left") and view.user_pin_tries_left == 1)
    return None


async def answer(question: Question, terminal: Terminal) -> ResetPasswordRequest:
    """Ask until there is an answer, and return it without a view number.

    An empty line asks for more time; the end of input and an unconfirmed last try are a cancel. The secret is in
    the returned message alone: the caller clears it once it is sent.
    """
    match question.kind:
        case Kind.USER_PIN:
            return await _user_pin(terminal, last_try=question.last_try)
        case Kind.NEW_PASSWORD:
            return await _new_password(terminal)


async def _user_pin(terminal: Terminal, *, last_try: bool) -> ResetPasswordRequest:
    if last_try:
        terminal.say(texts.LAST_TRY)
        confirmation = await terminal.ask(texts.LAST_TRY_PROMPT, hidden=False)
        if confirmation is None or confirmation.strip().lower() not in texts.LAST_TRY_YES:
            return _cancel()
    line = await terminal.ask(texts.PIN_PROMPT, hidden=True)
    if not line:
        return _nothing_typed(line)
    return ResetPasswordRequest(user_pin=UserPin(user_pin=line, last_try_confirmed=last_try))


async def _new_password(terminal: Terminal) -> ResetPasswordRequest:
    terminal.say(texts.NEW_PASSWORD_RULE)
    while True:
        line = await terminal.ask(texts.NEW_PASSWORD_PROMPT, hidden=True)
        if not line:
            return _nothing_typed(line)
        for complaint in (texts.MISMATCH, texts.MISMATCH_TWICE):
            repeated = await terminal.ask(texts.REPEAT_PROMPT, hidden=True)
            if repeated is None:
                return _cancel()
            if repeated == line:
                return ResetPasswordRequest(new_password=NewPassword(new_password=line))
            terminal.say(complaint)


def _nothing_typed(line: bytes | None) -> ResetPasswordRequest:
    return _cancel() if line is None else ResetPasswordRequest(more_time=MoreTime())


def _cancel() -> ResetPasswordRequest:
    return ResetPasswordRequest(cancel=Cancel())
