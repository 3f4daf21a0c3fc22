"""What citizens do, quickly and slowly, rightly and wrongly."""

from __future__ import annotations

from tests.rig.scenarios.table import Table, held, let_go, refused, torn
from tests.rig.visitor import Visitor

WRONG_PIN = "0000"

VISITS = Table()


@VISITS.of()
def looks_around(v: Visitor) -> None:
    """Reads everything before the terms, and leaves."""
    v.at("idle")
    v.press("touch")
    v.at("services")
    v.press("help")
    v.at("help")
    v.press("close-help")
    v.at("services")
    v.press("reset")
    v.at("procedure")
    v.press("signing-password")
    for leaflet, name in (("no-reservation", "help_reserve"), ("no-pin", "help_counter")):
        v.at("checklist")
        v.press(leaflet)
        v.at(name)
        v.press("back")
    v.at("checklist")
    v.press("ready")
    v.at("terms")
    v.press("full-terms")
    v.at("terms_full")
    v.press("back")
    v.at("terms")
    v.press("decline")
    v.at("idle")


@VISITS.of()
def resets(v: Visitor) -> None:
    """Has everything and does everything right, and is slow to take the card."""
    v.reset()
    for stage in (1, 2, 3):
        v.leap()
        v.page.wait_for_selector(f'#screen[data-name="take_card"] .stage{stage}')
        v.at("take_card")
    v.lift()
    v.told("done", "end")
    v.press("finish")
    v.at("idle")


@VISITS.of()
def waits_for_the_machine(v: Visitor) -> None:
    """Meets a slow card and a slow centre, and sees each busy screen."""
    v.reserve()
    v.to_terms()
    with v.frozen("centrald"):
        v.press("agree")
        v.at("admitting")
    v.at("place_card")
    v.press("next")
    v.page.wait_for_selector("#screen .alert")
    v.at("place_card")
    with held(v, "read_binary"):
        v.place()
    let_go(v, "reading")
    v.at("user_pin")
    with held(v, "compute_digital_signature"):
        v.enter_pin()
    v.at("user_pin_busy")
    with v.frozen("centrald"):
        v.sim.clear_faults()
        v.at("checking")
    v.at("new_password")
    with held(v, "initialize_update"):
        v.choose()
    let_go(v, "authorizing")
    v.told("done")


@VISITS.of()
def is_written_slowly(v: Visitor) -> None:
    """The card takes its time for the change."""
    v.reserve()
    v.to_password()
    with held(v, "reset_retry_counter"):
        v.choose()
    let_go(v, "writing")
    v.told("done")


@VISITS.of("CANCELLED")
def enters_wrong_pins(v: Visitor) -> None:
    """Enters two wrong PINs, confirms the last try, lifts the card, puts it back, and cancels."""
    v.to_pin()
    v.enter_pin(WRONG_PIN)
    v.page.wait_for_selector("#screen .alert")
    v.at("user_pin")
    v.enter_pin(WRONG_PIN)
    v.at("user_pin_last_try")
    v.press("confirm-last-try")
    v.at("user_pin")
    v.press("back")
    v.at("user_pin_last_try")
    v.lift()
    v.at("card_again")
    v.place()
    v.at("user_pin_last_try")
    v.press("help")
    v.at("help")
    v.press("close-help")
    v.at("user_pin_last_try")
    v.press("cancel")
    refused(v, "CANCELLED")


@VISITS.of("USER_PIN_LOCKED")
def locks_the_pin(v: Visitor) -> None:
    """Enters three wrong PINs."""
    v.to_pin()
    for name in ("user_pin", "user_pin_last_try"):
        v.enter_pin(WRONG_PIN)
        v.at(name) if name == "user_pin_last_try" else v.page.wait_for_selector("#screen:not([inert]) .alert")
    v.press("confirm-last-try")
    v.at("user_pin")
    v.enter_pin(WRONG_PIN)
    refused(v, "USER_PIN_LOCKED")


@VISITS.of()
def types_wrongly(v: Visitor) -> None:
    """Chooses an easy password, and types another one the second time."""
    v.reserve()
    v.to_password()
    v.panel("new")
    v.type("AAA111")
    v.page.wait_for_selector("#screen [data-weak]:visible")
    v.at("new_password")
    v.confirm()
    v.panel("again")
    v.type("AAA112")
    v.confirm()
    v.page.wait_for_selector("#screen [data-mismatch]:visible")
    v.panel("again")
    v.type("AAA113")
    v.confirm()
    v.panel("new")
    v.at("new_password")
    v.press("cancel")
    v.told("CANCELLED")


@VISITS.of("NO_CARD")
def brings_no_card(v: Visitor) -> None:
    """Places no card for a minute."""
    v.agree()
    v.leap()
    v.told("NO_CARD", "end")


@VISITS.of("TIMED_OUT")
def walks_away(v: Visitor) -> None:
    """Enters no PIN."""
    v.to_pin()
    v.leap()
    refused(v, "TIMED_OUT")


@VISITS.of("OUTCOME_UNRESOLVED")
def lifts_the_card_too_early(v: Visitor) -> None:
    """Lifts the card during the change and cancels, comes again, and lifts it again; the same card settles it."""
    torn(v)
    v.press("cancel")
    v.told("OUTCOME_UNRESOLVED", "end")
    v.press("finish")
    v.to_password()
    v.sim.plan("reset_retry_counter", "tear")
    v.choose()
    v.at("resolving")
    v.place()
    v.told("done")


@VISITS.of()
def lifts_the_card_just_before(v: Visitor) -> None:
    """Lifts the card between authorisation and change: the same card is asked for, and then it is done."""
    v.reserve()
    v.to_password()
    v.sim.plan("external_authenticate", "tear")
    v.choose()
    v.at("card_again")
    v.place()
    v.told("done")


@VISITS.of()
def has_a_card_that_must_be_lifted(v: Visitor) -> None:
    """The connection to a card that lies there breaks: it must be lifted before it can be placed again."""
    v.reserve()
    v.to_password()
    v.sim.plan("external_authenticate", "empty")
    v.choose()
    v.at("lift_card")
    v.lift()
    v.at("card_again")
    v.place()
    v.told("done")


@VISITS.of()
def has_a_receipt_that_proves_nothing(v: Visitor) -> None:
    """The centre refuses the card's receipt: the card must be lifted, and the same card settles it."""
    v.reserve()
    v.to_password()
    v.sim.plan("reset_retry_counter", "mac_wrong")
    v.choose()
    v.at("resolving_lift")
    v.lift()
    v.at("resolving")
    v.place()
    v.told("done")
