"""Cards that cannot be served, each by its real cause."""

from __future__ import annotations

from tests.rig.circumstances import age_reservation
from tests.rig.scenarios.table import Table, refused
from tests.rig.visitor import Visitor

CARDS = Table()


@CARDS.of("USER_PIN_LOCKED")
def brings_a_locked_pin(v: Visitor) -> None:
    """The PIN was locked at home."""
    v.agree()
    v.place("user-pin-locked")
    refused(v, "USER_PIN_LOCKED")


@CARDS.of("NOT_A_MY_NUMBER_CARD")
def brings_another_kind_of_card(v: Visitor) -> None:
    """The card is no My Number Card."""
    v.agree()
    v.place("foreign")
    refused(v, "NOT_A_MY_NUMBER_CARD")


@CARDS.of("NO_SIGNING_CERTIFICATE")
def brings_the_card_of_a_child(v: Visitor) -> None:
    """The card has no signing certificate."""
    v.agree()
    v.place("child")
    refused(v, "NO_SIGNING_CERTIFICATE")


@CARDS.of("CARD_UNREADABLE")
def brings_a_broken_card(v: Visitor) -> None:
    """The card answers nonsense."""
    v.agree()
    v.sim.plan("tries_left", "garbage")
    v.place()
    refused(v, "CARD_UNREADABLE")


@CARDS.of("RESERVATION_NOT_FOUND")
def has_not_reserved(v: Visitor) -> None:
    """There is no reservation for the card."""
    v.to_pin("other-person")
    v.enter_pin()
    refused(v, "RESERVATION_NOT_FOUND")


@CARDS.of("RESERVATION_EXPIRED")
def reserved_long_ago(v: Visitor) -> None:
    """The reservation is older than a day."""
    v.reserve()
    age_reservation(v.stack)
    v.to_pin()
    v.enter_pin()
    refused(v, "RESERVATION_EXPIRED")


@CARDS.of("RESERVATION_USED")
def comes_twice(v: Visitor) -> None:
    """The reservation was used by a reset before."""
    v.reset()
    v.leave()
    v.to_pin()
    v.enter_pin()
    refused(v, "RESERVATION_USED")


@CARDS.of("CERTIFICATE_EXPIRED")
def brings_an_expired_card(v: Visitor) -> None:
    """The user certificate has expired."""
    v.to_pin("expired")
    v.enter_pin()
    refused(v, "CERTIFICATE_EXPIRED")


@CARDS.of("CERTIFICATE_REVOKED")
def brings_a_revoked_card(v: Visitor) -> None:
    """The user certificate is revoked."""
    v.to_pin("revoked-user")
    v.enter_pin()
    refused(v, "CERTIFICATE_REVOKED")


@CARDS.of("CARD_NOT_REGISTERED")
def brings_an_unknown_card(v: Visitor) -> None:
    """The centre has no registry entry of the card."""
    v.to_pin("unregistered")
    v.enter_pin()
    refused(v, "CARD_NOT_REGISTERED")


@CARDS.of("CARD_NOT_GENUINE")
def brings_a_copy(v: Visitor) -> None:
    """The card's keys are not those of its registry entry."""
    v.reserve("wrong-keys")
    v.to_password("wrong-keys")
    v.choose()
    refused(v, "CARD_NOT_GENUINE")


@CARDS.of("CARD_REFUSED")
def brings_a_card_that_refuses(v: Visitor) -> None:
    """The card answers the change with a definite refusal."""
    v.reserve()
    v.to_password()
    v.sim.plan("reset_retry_counter", "status", "before_delivery", status="6985")
    v.choose()
    refused(v, "CARD_REFUSED")


@CARDS.of("DIFFERENT_CARD")
def changes_the_card(v: Visitor) -> None:
    """Another card is placed where the same one is asked for."""
    v.to_pin()
    v.lift()
    v.at("card_again")
    v.place("other-person")
    refused(v, "DIFFERENT_CARD")
