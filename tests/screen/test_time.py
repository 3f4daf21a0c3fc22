"""Nobody there, somebody slow, a card forgotten: what the screen does when time passes. Clocks leap; nothing waits."""

from __future__ import annotations

import signal

import pytest

from tests.rig.visitor import Visitor

# The page's clock goes on until less than 30 s of the limit are left, and not until it is over: warning and countdown.
TO_THE_WARNING_S = {"services": 65, "user_pin": 65, "new_password": 155, "place_card": 40}


def at_clock(v: Visitor) -> None:
    """Load the page again, on a clock that can be put forward."""
    v.page.clock.install()
    v.come()
    v.at("idle")


def go_to(v: Visitor, name: str) -> None:
    """Go to one of the screens that wait for a person."""
    if name == "services":
        v.press("touch")
        v.at("services")
    elif name == "place_card":
        v.agree()
    elif name == "user_pin":
        v.to_pin()
    else:
        v.reserve()
        v.to_password()


@pytest.mark.parametrize("name", TO_THE_WARNING_S)
def test_warning_comes_before_the_end_and_more_time_is_given(visitor: Visitor, name: str) -> None:
    v = visitor
    at_clock(v)
    go_to(v, name)
    for _ in range(2):
        v.page.clock.fast_forward(TO_THE_WARNING_S[name] * 1000)
        v.page.wait_for_selector("#warning:visible")
        assert v.page.locator("#screen").evaluate("screen => screen.inert")
        left = int(v.page.locator("#warning [data-countdown]").first.inner_text())
        assert 0 < left <= 30
        v.push("#warning [data-press=more-time]")
        v.page.wait_for_selector("#warning", state="hidden")
        v.at(name)


def test_visit_without_a_press_ends_and_leaves_nothing(visitor: Visitor) -> None:
    """Language, size and place are those of the next citizen."""
    v = visitor
    v.at("idle")
    v.press("touch")
    v.at("services")
    v.press("size-large")
    v.page.wait_for_selector("body[data-size=large]")
    v.screen_leaps()
    v.screen_leaps()
    v.at("idle")
    v.page.wait_for_selector("body[data-size=standard]")


def test_end_of_a_reset_goes_by_itself(visitor: Visitor) -> None:
    v = visitor
    v.reset()
    v.lift()
    v.told("done", "end")
    v.screen_leaps()
    v.at("idle")


def test_forgotten_card_is_reminded_of_with_text_and_sound(visitor: Visitor) -> None:
    """More and more plainly, for as long as it lies there; the next citizen cannot begin; taken, all of it ends."""
    v = visitor
    v.reset()
    sounds = {}
    for stage in (1, 2, 3):
        v.leap()
        v.page.wait_for_selector(f'#screen[data-name="take_card"] .stage{stage}')
        sounds[stage] = v.page.locator("body").get_attribute("data-sound")
    assert sounds == {1: "chime", 2: "attention", 3: "staff"}
    v.screen_leaps()
    v.screen_leaps()
    assert v.at("take_card")
    v.lift()
    v.told("done", "end")
    assert not v.page.locator("body").get_attribute("data-sound")


def test_page_says_that_its_server_is_away(visitor: Visitor) -> None:
    v = visitor
    v.expected = ("403 (Forbidden)",)  # the new server does not know the page
    v.at("idle")
    v.screen.stop()
    v.page.wait_for_selector("#lost:visible")
    assert v.page.locator("#screen").evaluate("screen => screen.inert")
    v.screen.start()
    v.page.wait_for_selector("#lost", state="hidden")
    v.at("idle")


def test_press_that_is_not_heard_at_once_is_seen_to_wait(visitor: Visitor) -> None:
    """While the server is silent nothing else can be pressed; the press is not lost."""
    v = visitor
    v.at("idle")
    v.screen.signal(signal.SIGSTOP)
    try:
        v.press("touch")
        v.page.wait_for_selector("#lost:visible")
        assert v.page.locator("#screen").evaluate("screen => screen.inert")
    finally:
        v.screen.signal(signal.SIGCONT)
    v.at("services")
    assert not v.page.locator("#lost").is_visible()


def test_press_that_nobody_hears_is_seen_to_be_lost(visitor: Visitor) -> None:
    """Once the server answers again, it can be pressed again."""
    v = visitor
    v.at("idle")
    v.page.route("**/press/touch", lambda route: route.abort())
    v.press("touch")
    v.page.wait_for_selector("#lost:visible")
    v.page.unroute("**/press/touch")
    v.page.wait_for_selector("#lost", state="hidden")
    v.press("touch")
    v.at("services")
