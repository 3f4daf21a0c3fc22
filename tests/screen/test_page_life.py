"""The page dies, hangs or is loaded again, at each step: the attempt outlives it, and nothing untrue is said."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from jpkireset.gateway.v1.gateway_service_pb2 import Status
from jpkireset.gateway.v1.reset_service_pb2 import STATE_REMOVE_CARD
from playwright.sync_api import Error as PageError

from tests.rig.browser import frozen
from tests.rig.scenarios.table import held, torn
from tests.rig.stage import Stage
from tests.rig.visitor import NEW_PASSWORD, USER_PIN, Visitor


def reloaded(v: Visitor) -> None:
    """Load the page again."""
    v.page.reload()


def crashed(v: Visitor) -> None:
    """Let the renderer die, and point the browser at the address again."""
    with contextlib.suppress(PageError):
        v.page.goto("chrome://crash")
    v.page.close()
    v.page = v.page.context.new_page()
    v.come()


@pytest.mark.parametrize("again", [reloaded, crashed])
def test_whole_reset_with_a_new_page_at_every_step(visitor: Visitor, again: Callable[[Visitor], None]) -> None:
    """The screen is the same as before, what was typed is gone, and the reset goes on to its end."""
    v = visitor
    shown: list[str] = []

    def anew(before: Visitor) -> None:
        name = before.name
        if name in shown:
            return
        shown.append(name)
        again(before)
        before.at(name)

    v.seen = anew
    v.reserve()
    v.to_pin()
    v.type("13")
    again(v)
    v.at("user_pin")
    assert "●" not in v.text
    v.enter_pin()
    v.at("new_password")
    v.type("SAKURA")
    again(v)
    v.at("new_password")
    assert "●" not in v.text
    with held(v, "reset_retry_counter"):
        v.choose()
    v.at("writing")
    v.sim.clear_faults()
    v.told("done")
    v.lift()
    v.told("done", "end")
    assert {"idle", "services", "procedure", "checklist", "place_card", "user_pin", "writing"} <= set(shown)
    assert v.sim.show(v.card)["references"]["signing_password"]["value"] == NEW_PASSWORD


def test_new_page_while_the_same_card_is_asked_for(visitor: Visitor) -> None:
    torn(visitor)
    crashed(visitor)
    visitor.at("resolving")
    visitor.place()
    visitor.told("done")


def pin_entered(v: Visitor) -> None:
    """The card keeps the answer to the VERIFY back."""
    v.to_pin()
    with held(v, "verify"):
        v.enter_pin()


def card_asked_again(v: Visitor) -> None:
    """The card was lifted while the PIN was asked for."""
    v.to_pin()
    v.lift()
    v.at("card_again")


def password_asked(v: Visitor) -> None:
    """The reservation was found."""
    v.reserve()
    v.to_password()


def gone_or_to_be_lifted(status: Status) -> bool:
    """The attempt has its outcome."""
    return not status.running_attempt_id or status.running_state == STATE_REMOVE_CARD


@pytest.mark.parametrize("walk", [Visitor.agree, Visitor.to_pin, pin_entered, card_asked_again, password_asked])
def test_page_that_hangs_before_the_change(visitor: Visitor, stage: Stage, walk: Callable[[Visitor], None]) -> None:
    """Without a beat for ten seconds the citizen counts as gone; the page says so when it lives again."""
    v = visitor
    walk(v)
    with frozen(stage.browser):
        v.screen_leaps(without_page=True)
        v.until_status(gone_or_to_be_lifted)
    v.sim.clear_faults()
    v.told("CLIENT_GONE")


def test_page_that_hangs_before_the_terms_are_accepted(visitor: Visitor, stage: Stage) -> None:
    """The next citizen finds the first screen."""
    visitor.to_terms()
    with frozen(stage.browser):
        visitor.screen_leaps(without_page=True)
    visitor.at("idle")


def test_page_that_hangs_while_the_same_card_is_asked_for(visitor: Visitor, stage: Stage) -> None:
    """Nobody is there who could place it: unknown, and told so."""
    torn(visitor)
    with frozen(stage.browser):
        visitor.screen_leaps(without_page=True)
        visitor.until_status(gone_or_to_be_lifted)
    visitor.told("OUTCOME_UNRESOLVED")


def test_page_that_hangs_while_the_card_is_to_be_taken(visitor: Visitor, stage: Stage) -> None:
    """Done stays done."""
    visitor.reset()
    with frozen(stage.browser):
        visitor.screen_leaps(without_page=True)
    visitor.told("done")
    visitor.lift()
    visitor.told("done", "end")


def test_page_that_hangs_during_the_change(visitor: Visitor, stage: Stage) -> None:
    """The daemon finishes it, and the page tells it."""
    v = visitor
    v.reserve()
    v.to_password()
    with held(v, "reset_retry_counter"):
        v.choose()
    with frozen(stage.browser):
        v.screen_leaps(without_page=True)
        v.sim.clear_faults()
        v.until_status(lambda status: status.running_state == STATE_REMOVE_CARD)
    v.told("done")


@pytest.mark.parametrize("at", ["user_pin", "writing"])
def test_server_that_dies_and_comes_back(visitor: Visitor, at: str) -> None:
    """It asks the daemon what became of the attempt it held, and the page finds its way back by itself."""
    v = visitor
    v.reserve()
    v.to_password() if at == "writing" else v.to_pin()
    if at == "writing":
        with held(v, "reset_retry_counter"):
            v.choose()
    v.expected = ("403 (Forbidden)",)  # the new server does not know the page
    v.screen.kill()
    v.sim.clear_faults()
    v.screen.start()
    v.told("done" if at == "writing" else "CLIENT_GONE")
    v.lift()
    v.told("done" if at == "writing" else "CLIENT_GONE", "end")


def test_second_page_can_do_nothing(visitor: Visitor) -> None:
    """It is told so, has no token, and the first one goes on."""
    v = visitor
    v.to_pin("other-person")
    with contextlib.closing(v.page.context.new_page()) as second:
        other = v.before(second)
        other.at("page_in_use")
        assert second.locator('meta[name="page-token"]').get_attribute("content") == ""
        other.press("retry")
        other.at("page_in_use")
    v.enter_pin(USER_PIN)
    v.told("RESERVATION_NOT_FOUND")
