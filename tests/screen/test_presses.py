"""Hands that are quick, shaky or on a keyboard: nothing is pressed that was not meant, and nothing twice."""

from __future__ import annotations

from tests.rig.visitor import NEW_PASSWORD, Visitor

MOST_PRESSES = 13  # of a whole reset, besides the PIN and the password


def verifications(v: Visitor, since: int) -> int:
    """The PINs that cards were sent."""
    return sum("[" in entry["apdu"] for entry in v.sim.entries(since) if entry.get("command") == "VERIFY")


def test_whole_reset_by_touch_needs_few_presses(visitor: Visitor) -> None:
    visitor.reset()
    visitor.leave()
    assert visitor.presses <= MOST_PRESSES


def test_whole_reset_by_keyboard_alone(visitor: Visitor) -> None:
    """Tab, Enter, letters and digits; lower case is upper case, and Escape means nothing."""
    v = visitor
    v.by_keys = True
    v.reserve()
    v.to_pin()
    v.page.keyboard.press("Escape")
    v.type("19")
    v.page.keyboard.press("Backspace")
    v.enter_pin("357")
    v.at("new_password")
    v.choose(NEW_PASSWORD.lower())
    v.told("done")
    v.leave()
    assert v.sim.show(v.card)["references"]["signing_password"] == {"value": NEW_PASSWORD, "tries": 5, "limit": 5}


def test_double_press_of_the_pin_is_one_try(visitor: Visitor) -> None:
    v = visitor
    since = v.sim.position()
    v.to_pin()
    v.type("0000")
    box = v.page.locator("#screen [data-confirm]").bounding_box()
    assert box
    for _ in range(4):
        v.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    v.page.wait_for_selector("#screen:not([inert]) .alert")
    assert verifications(v, since) == 1
    assert v.sim.show(v.card)["references"]["user_pin"]["tries"] == 2


def test_four_digits_are_not_confirmed_by_themselves(visitor: Visitor) -> None:
    v = visitor
    since = v.sim.position()
    v.to_pin()
    v.type("13579")
    assert v.page.locator("#screen [data-entry]").inner_text() == "●●●●"
    v.page.keyboard.press("Escape")
    v.page.reload()
    v.at("user_pin")
    assert verifications(v, since) == 0


def test_tap_that_comes_too_early_presses_nothing(visitor: Visitor) -> None:
    """For 0.3 s after a change of screen a finger meets nothing."""
    v = visitor
    v.at("idle")
    v.press("touch")
    v.at("services")
    v.press("reset")
    v.at("procedure")
    box = v.page.locator('#screen [data-press="signing-password"]').bounding_box()
    assert box
    v.press("back")
    v.at("services")
    v.press("reset")
    v.glimpse("procedure")
    began = v.page.evaluate("performance.now()")
    v.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    if v.page.evaluate("performance.now()") - began < 150:  # on a busy machine the tap itself may come too late
        v.at("procedure")
        assert v.name == "procedure"


def test_language_may_change_in_the_middle_of_a_pin(visitor: Visitor) -> None:
    """What was typed stays, masked as it was, and the official words stay in Japanese."""
    v = visitor
    v.to_pin("other-person")
    v.type("13")
    v.push("#screen [popovertarget=languages]")
    v.page.locator("#languages [data-press=language-en]").tap()
    v.page.wait_for_selector("html[lang=en]", state="attached")
    assert v.page.locator("#screen [data-entry]").inner_text() == "●●"
    assert "利用者証明用" in v.text
    v.enter_pin("57")
    v.told("RESERVATION_NOT_FOUND")
    assert v.page.locator("html").get_attribute("lang") == "en"
    v.lift()
    v.at("end")
    v.press("finish")
    v.at("idle")
    assert v.page.locator("html").get_attribute("lang") == "ja", "the next citizen begins anew"


def test_password_is_shown_only_while_the_button_is_held(visitor: Visitor) -> None:
    v = visitor
    v.reserve()
    v.to_password()
    v.panel("new")
    v.type("SAKURA20")
    box = v.page.locator("#screen [data-show]:visible").bounding_box()
    assert box
    assert "SAKU" not in v.text.replace("\n", "")
    v.page.mouse.move(box["x"] + 5, box["y"] + 5)
    v.page.mouse.down()
    v.page.wait_for_selector("#screen [data-shown]:visible")
    assert v.page.locator("#screen [data-shown]:visible").inner_text().replace("\n", "") == "SAKURA20"
    v.page.mouse.up()
    v.page.wait_for_selector("#screen [data-shown]:visible", state="detached")
    assert v.page.locator("#screen [data-shown] *").count() == 0
