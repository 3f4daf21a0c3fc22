"""One reservation, in a straight line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from jpki_phone import card
from jpki_phone.centre import Reservation
from jpki_phone.problems import Problem, not_reserved
from jpki_phone.statement import digest_info, reserve_statement

PROCEDURE_SIGNING_PASSWORD = 1  # jpkireset.central.v1.Procedure: its value enters the signature


class CardSlot(Protocol):
    """Where the card lies."""

    def card(self) -> AbstractContextManager[card.Transmit]:
        """Hold the card exclusively."""
        ...


class ReservationCalls(Protocol):
    """What the centre is asked."""

    def challenge(self) -> bytes:
        """Return 32 bytes to sign."""
        ...

    def reserve(self, challenge: bytes, user_certificate: bytes, signature: bytes) -> Reservation:
        """Make the reservation."""
        ...


def reserve(slot: CardSlot, centre: ReservationCalls, ask_user_pin: Callable[[int], bytes]) -> Reservation:
    """Read the card, ask for the PIN, have the centre's challenge signed, and reserve.

    The card is not held while a person types or the centre is asked for the challenge; whatever lies there afterwards
    must be the same card with the same tries left before the PIN is sent, once. Raises NotReserved.
    """
    with slot.card() as transmit:
        card.open_jpki(transmit)
        certificate = card.user_certificate(transmit)
        tries = card.user_pin_tries(transmit)
    if not tries:
        raise not_reserved(Problem.USER_PIN_LOCKED, tries_left=0)
    pin = ask_user_pin(tries)
    challenge = centre.challenge()
    statement = reserve_statement(PROCEDURE_SIGNING_PASSWORD, challenge)
    with slot.card() as transmit:
        card.open_jpki(transmit)
        if card.user_certificate(transmit) != certificate:
            raise not_reserved(Problem.DIFFERENT_CARD)
        if card.user_pin_tries(transmit) != tries:
            raise not_reserved(Problem.TRIES_CHANGED)
        card.verify_user_pin(transmit, pin)
        signature = card.sign(transmit, digest_info(statement))
    return centre.reserve(challenge, certificate, signature)
