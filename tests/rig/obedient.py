"""A citizen who does what each view asks for: the one for faults, after which nobody knows the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
from jpkireset.gateway.v1.reset_service_pb2 import (
    CARD_REQUEST_LIFT,
    CARD_REQUEST_PLACE,
    CARD_REQUEST_PLACE_SAME,
    View,
)

from jpki_phone.problems import NotReserved
from tests.rig.citizen import KIOSK, Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, ENTER_USER_PIN, FINISHED, Attempt

SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass
class Visit:
    """One attempt, from the terms to its last view."""

    attempt_id: str
    views: list[View]
    presses: int = 0  # of the PIN
    requests: list[int] = field(default_factory=list)  # of the card, in order

    @property
    def last(self) -> View:
        """The attempt's ending."""
        return self.views[-1]


async def reserved(citizen: Citizen) -> None:
    """Reserve as soon as the centre takes it: it does not while reports of the attempt before are on their way."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                citizen.reserve()
            except NotReserved:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return


async def visit(citizen: Citizen, password: str, before_lift: Callable[[], Awaitable[None]] | None = None) -> Visit:
    """Go through one attempt to its last view; a card that is to be lifted lies there until `before_lift` is over.

    Raises TimeoutError, AssertionError when the stream ends otherwise.
    """
    attempt = await citizen.front.attempt()
    done = Visit(attempt.id, attempt.views)
    async with asyncio.timeout(SECONDS):
        while True:
            view = await attempt.until_view(lambda view: not view.busy, SECONDS)
            if view.state == FINISHED:
                break
            if view.card_request == CARD_REQUEST_LIFT and before_lift is not None:
                await before_lift()
            await _obey(citizen, attempt, view, password, done)
        assert await attempt.call.code() is grpc.StatusCode.OK
    if citizen.card_placed:
        citizen.stack.cardsim.remove(KIOSK)
    await citizen.front.idle()
    return done


async def _obey(citizen: Citizen, attempt: Attempt, view: View, password: str, done: Visit) -> None:
    if view.card_request:
        done.requests.append(view.card_request)
    if view.card_request == CARD_REQUEST_LIFT:
        _lift(citizen)
    elif view.card_request in (CARD_REQUEST_PLACE, CARD_REQUEST_PLACE_SAME):
        _lift(citizen)  # another one, that came by a swap, or one that came back by itself
        await citizen.front.until_status(lambda status: not status.card_present)
        citizen.place()
    elif view.state == ENTER_USER_PIN:
        done.presses += 1
        await attempt.user_pin(citizen.user_pin)
    elif view.state == ENTER_NEW_PASSWORD:
        await attempt.new_password(password)


def _lift(citizen: Citizen) -> None:
    if citizen.card_placed:
        citizen.lift()
