"""What happens to people at the kiosk's screen, as a table: each by its real cause. Tests and pictures are made of it.

A scenario begins at the idle screen and may end anywhere; what it changed around the kiosk it puts back.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1.reset_service_pb2 import STATE_REMOVE_CARD

from tests.rig.circumstances import (
    age_reservation,
    closed_hours,
    full_disk,
    kiosk_disabled,
    maintained,
)
from tests.rig.process import wait_until
from tests.rig.rival import Rival
from tests.rig.visitor import SECONDS, Visitor

BACKUP = "file:before?mode=memory"
WRONG_PIN = "0000"
RACES = 6  # who of two is first is for the daemon's operating system to say
PERSONAS = (
    "child",
    "expired",
    "foreign",
    "other-person",
    "revoked-user",
    "unregistered",
    "user-pin-locked",
    "wrong-keys",
)


@dataclass(frozen=True)
class Scenario:
    """One visit, or what is there instead of one. `reasons` are those of the proto that it shows."""

    play: Callable[[Visitor], None]
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.play.__name__

    @property
    def cause(self) -> str:
        """What brings it about: the first line of the function's text."""
        return (self.play.__doc__ or "").strip().splitlines()[0]


CARDS: list[Scenario] = []
MACHINES: list[Scenario] = []
VISITS: list[Scenario] = []


def _in(table: list[Scenario], *reasons: str) -> Callable[[Callable[[Visitor], None]], Callable[[Visitor], None]]:
    def add(play: Callable[[Visitor], None]) -> Callable[[Visitor], None]:
        table.append(Scenario(play, reasons))
        return play

    return add


def refused(v: Visitor, reason: str) -> None:
    """The ending tells the reason, beside the card and after it was taken."""
    v.told(reason, "outcome")
    v.lift()
    v.told(reason, "end")


@contextlib.contextmanager
def held(v: Visitor, command: str) -> Iterator[None]:
    """Something makes the kiosk send a command; afterwards the card sits on it until `clear_faults`."""
    fault = v.sim.plan(command, "mute", "before_delivery")
    yield
    wait_until(lambda: v.sim.struck(fault), SECONDS, f"{command} held back")


def let_go(v: Visitor, name: str) -> None:
    """Look at a busy screen while the card is silent, then let it answer."""
    v.at(name)
    v.sim.clear_faults()


# --- visits -----------------------------------------------------------------------------------------------------------


@_in(VISITS)
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


@_in(VISITS)
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


@_in(VISITS)
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


@_in(VISITS)
def is_written_slowly(v: Visitor) -> None:
    """The card takes its time for the change."""
    v.reserve()
    v.to_password()
    with held(v, "reset_retry_counter"):
        v.choose()
    let_go(v, "writing")
    v.told("done")


@_in(VISITS, "CANCELLED")
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


@_in(VISITS, "USER_PIN_LOCKED")
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


@_in(VISITS)
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


@_in(VISITS, "NO_CARD")
def brings_no_card(v: Visitor) -> None:
    """Places no card for a minute."""
    v.agree()
    v.leap()
    v.told("NO_CARD", "end")


@_in(VISITS, "TIMED_OUT")
def walks_away(v: Visitor) -> None:
    """Enters no PIN."""
    v.to_pin()
    v.leap()
    refused(v, "TIMED_OUT")


@_in(VISITS, "OUTCOME_UNRESOLVED")
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


@_in(VISITS)
def lifts_the_card_just_before(v: Visitor) -> None:
    """Lifts the card between authorisation and change: the same card is asked for, and then it is done."""
    v.reserve()
    v.to_password()
    v.sim.plan("external_authenticate", "tear")
    v.choose()
    v.at("card_again")
    v.place()
    v.told("done")


@_in(VISITS)
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


@_in(VISITS)
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


def torn(v: Visitor) -> None:
    """Lift the card during the change: it has the new password, and its answer is lost."""
    v.reserve()
    v.to_password()
    v.sim.plan("reset_retry_counter", "tear")
    v.choose()
    v.at("resolving")


# --- cards that cannot be served --------------------------------------------------------------------------------------


@_in(CARDS, "USER_PIN_LOCKED")
def brings_a_locked_pin(v: Visitor) -> None:
    """The PIN was locked at home."""
    v.agree()
    v.place("user-pin-locked")
    refused(v, "USER_PIN_LOCKED")


@_in(CARDS, "NOT_A_MY_NUMBER_CARD")
def brings_another_kind_of_card(v: Visitor) -> None:
    """The card is no My Number Card."""
    v.agree()
    v.place("foreign")
    refused(v, "NOT_A_MY_NUMBER_CARD")


@_in(CARDS, "NO_SIGNING_CERTIFICATE")
def brings_the_card_of_a_child(v: Visitor) -> None:
    """The card has no signing certificate."""
    v.agree()
    v.place("child")
    refused(v, "NO_SIGNING_CERTIFICATE")


@_in(CARDS, "CARD_UNREADABLE")
def brings_a_broken_card(v: Visitor) -> None:
    """The card answers nonsense."""
    v.agree()
    v.sim.plan("tries_left", "garbage")
    v.place()
    refused(v, "CARD_UNREADABLE")


@_in(CARDS, "RESERVATION_NOT_FOUND")
def has_not_reserved(v: Visitor) -> None:
    """There is no reservation for the card."""
    v.to_pin("other-person")
    v.enter_pin()
    refused(v, "RESERVATION_NOT_FOUND")


@_in(CARDS, "RESERVATION_EXPIRED")
def reserved_long_ago(v: Visitor) -> None:
    """The reservation is older than a day."""
    v.reserve()
    age_reservation(v.stack)
    v.to_pin()
    v.enter_pin()
    refused(v, "RESERVATION_EXPIRED")


@_in(CARDS, "RESERVATION_USED")
def comes_twice(v: Visitor) -> None:
    """The reservation was used by a reset before."""
    v.reset()
    v.leave()
    v.to_pin()
    v.enter_pin()
    refused(v, "RESERVATION_USED")


@_in(CARDS, "CERTIFICATE_EXPIRED")
def brings_an_expired_card(v: Visitor) -> None:
    """The user certificate has expired."""
    v.to_pin("expired")
    v.enter_pin()
    refused(v, "CERTIFICATE_EXPIRED")


@_in(CARDS, "CERTIFICATE_REVOKED")
def brings_a_revoked_card(v: Visitor) -> None:
    """The user certificate is revoked."""
    v.to_pin("revoked-user")
    v.enter_pin()
    refused(v, "CERTIFICATE_REVOKED")


@_in(CARDS, "CARD_NOT_REGISTERED")
def brings_an_unknown_card(v: Visitor) -> None:
    """The centre has no registry entry of the card."""
    v.to_pin("unregistered")
    v.enter_pin()
    refused(v, "CARD_NOT_REGISTERED")


@_in(CARDS, "CARD_NOT_GENUINE")
def brings_a_copy(v: Visitor) -> None:
    """The card's keys are not those of its registry entry."""
    v.reserve("wrong-keys")
    v.to_password("wrong-keys")
    v.choose()
    refused(v, "CARD_NOT_GENUINE")


@_in(CARDS, "CARD_REFUSED")
def brings_a_card_that_refuses(v: Visitor) -> None:
    """The card answers the change with a definite refusal."""
    v.reserve()
    v.to_password()
    v.sim.plan("reset_retry_counter", "status", "before_delivery", status="6985")
    v.choose()
    refused(v, "CARD_REFUSED")


@_in(CARDS, "DIFFERENT_CARD")
def changes_the_card(v: Visitor) -> None:
    """Another card is placed where the same one is asked for."""
    v.to_pin()
    v.lift()
    v.at("card_again")
    v.place("other-person")
    refused(v, "DIFFERENT_CARD")


# --- machines and times -----------------------------------------------------------------------------------------------


@_in(MACHINES, "OUT_OF_HOURS")
def comes_when_it_is_closed(v: Visitor) -> None:
    """The centre closes while the terms are read; the next citizen sees it before."""
    v.to_terms()
    with closed_hours(v.stack):
        v.press("agree")
        v.told("OUT_OF_HOURS", "end")
        v.stack.gatewayd.restart()  # it then asks at once, instead of within half a minute
        v.press("finish")
        v.at("out_of_hours")
    v.stack.gatewayd.restart()
    v.at("idle")


@_in(MACHINES, "MAINTENANCE")
def comes_during_maintenance(v: Visitor) -> None:
    """An announced maintenance begins while the terms are read; the next citizen sees it before."""
    v.to_terms()
    with maintained(v.stack):
        v.press("agree")
        v.told("MAINTENANCE", "end")
        v.stack.gatewayd.restart()
        v.press("finish")
        v.at("maintenance")
    v.stack.gatewayd.restart()
    v.at("idle")


@_in(MACHINES, "KIOSK_NOT_ENABLED")
def comes_where_it_is_not_offered(v: Visitor) -> None:
    """The centre disables this kiosk before the PIN; the next citizen sees it before."""
    v.to_pin()
    with kiosk_disabled(v.stack):
        v.enter_pin()
        refused(v, "KIOSK_NOT_ENABLED")
        v.stack.gatewayd.restart()
        v.press("finish")
        v.at("not_enabled")
    v.stack.gatewayd.restart()
    v.at("idle")


@_in(MACHINES, "READER_UNAVAILABLE")
def loses_the_reader(v: Visitor) -> None:
    """The service of the reader dies before the PIN; the next citizen sees it before."""
    v.to_pin()
    v.stack.pcscd.kill()
    try:
        v.until_status(lambda status: gateway.READINESS_PROBLEM_PCSC_UNAVAILABLE in status.problems)
        v.enter_pin()
        v.told("READER_UNAVAILABLE")
        v.lift()
    finally:
        v.stack.pcscd.resume()
    v.told("READER_UNAVAILABLE", "end")
    v.stack.pcscd.kill()
    try:
        v.until_status(lambda status: gateway.READINESS_PROBLEM_PCSC_UNAVAILABLE in status.problems)
        v.press("finish")
        v.at("machine_trouble")
    finally:
        v.stack.pcscd.resume()
    v.at("idle")


@_in(MACHINES, "CENTRAL_UNAVAILABLE")
def loses_the_centre(v: Visitor) -> None:
    """The centre is stopped before the PIN; the next citizen sees it before."""
    v.to_pin()
    v.stack.centrald.stop()
    try:
        v.enter_pin()
        v.glimpse("user_pin_busy")
        v.leap()
        refused(v, "CENTRAL_UNAVAILABLE")
        v.press("finish")
        v.at("central_trouble")
    finally:
        v.stack.centrald.start()
    v.at("idle")


@_in(MACHINES, "CARD_LEFT_BEHIND")
def finds_a_card(v: Visitor) -> None:
    """A card has been lying on the reader since the daemon started."""
    v.at("idle")
    v.place("other-person")
    v.until_status(lambda status: status.card_present)
    v.stack.gatewayd.restart()
    v.at("card_left_behind")
    v.lift()
    v.at("idle")


@_in(MACHINES, "BUSY")
def comes_second(v: Visitor) -> None:
    """Another front-end's citizen agreed a moment earlier; and while that attempt runs it is seen before."""
    for _ in range(RACES):
        v.to_terms()
        with Rival(v.stack.gatewayd.socket) as rival:
            with v.frozen("gatewayd"):
                rival.begin()
                v.press("agree")
                v.glimpse("admitting")  # a moment only: a daemon that is silent for longer is given up
            v.glimpse("end", "place_card")
            if v.name == "end":
                v.told("BUSY", "end")
                v.press("finish")
                v.at("busy_elsewhere")
                break
            v.at("place_card")
            v.press("cancel")  # the other one came second
            v.told("CANCELLED", "end")
            v.press("finish")
    else:
        raise AssertionError(f"first in {RACES} races")
    v.at("idle")


@_in(MACHINES, "JOURNAL_UNAVAILABLE")
def meets_a_full_disk(v: Visitor) -> None:
    """The daemon cannot write its journal when the change is confirmed."""
    v.reserve()
    v.to_password()
    with full_disk(v.stack):
        v.choose()
        refused(v, "JOURNAL_UNAVAILABLE")
    v.stack.gatewayd.restart()


@_in(MACHINES, "DRAINING")
def is_there_when_the_daemon_stops(v: Visitor) -> None:
    """The daemon is stopped, in order, while the PIN is asked for; then there is none."""
    v.to_pin()
    v.stack.gatewayd.stop()
    try:
        v.told("DRAINING")  # beside the card, or after it, as far as the daemon came
        v.lift()
    finally:
        v.stack.gatewayd.start()
    v.told("DRAINING", "end")
    v.press("finish")
    v.at("idle")
    v.stack.gatewayd.stop()
    try:
        v.at("daemon_down")
    finally:
        v.stack.gatewayd.start()
    v.at("idle")


@_in(MACHINES, "RESTARTED")
def is_there_when_the_daemon_dies(v: Visitor) -> None:
    """The daemon is killed while the PIN is asked for, and started again."""
    v.to_pin()
    v.stack.gatewayd.kill()
    try:
        v.at("asking_outcome")
    finally:
        v.stack.gatewayd.start()
    v.told("RESTARTED")
    v.lift()
    v.told("RESTARTED", "end")


@_in(MACHINES, "RESTARTED")
def is_there_when_the_daemon_dies_in_the_change(v: Visitor) -> None:
    """The daemon is killed while the card is changed: nobody knows, and the screen says so."""
    v.reserve()
    v.to_password()
    with held(v, "reset_retry_counter"):
        v.choose()
    v.stack.gatewayd.kill()
    v.sim.clear_faults()
    v.stack.gatewayd.start()
    v.told("RESTARTED")
    v.lift()
    v.told("RESTARTED", "end")


@_in(MACHINES)
def is_told_nothing(v: Visitor) -> None:
    """The daemon is killed and stays away: the screen does not know how it ended, and says so."""
    v.to_pin()
    v.stack.gatewayd.kill()
    try:
        v.at("asking_outcome")
        v.screen_leaps()
        v.at("outcome_unlearnt")
        v.lift()
    finally:
        v.stack.gatewayd.start()
    v.told("RESTARTED")


@_in(MACHINES)
def never_began(v: Visitor) -> None:
    """The daemon dies before it has read the start."""
    v.to_terms()
    v.stack.gatewayd.signal(signal.SIGSTOP)
    v.press("agree")
    v.glimpse("admitting")
    v.stack.gatewayd.kill()
    v.stack.gatewayd.start()
    v.at("not_begun")
    v.press("finish")
    v.at("idle")


@_in(MACHINES, "INTERNAL")
def meets_a_restored_centre(v: Visitor) -> None:
    """The centre's database of a moment ago is brought back: the running attempt is one it has never heard of."""
    centre = v.stack.centrald
    database = v.stack.site.central / "centrald.db"
    v.reserve()
    with (
        contextlib.closing(sqlite3.connect(database)) as live,
        contextlib.closing(sqlite3.connect(BACKUP, uri=True)) as backup,
    ):
        live.backup(backup)
        v.to_password()
        centre.stop()
        for file in database.parent.glob("centrald.db-*"):
            file.unlink()
        backup.backup(live)
    centre.start()
    v.choose()
    refused(v, "INTERNAL")


@_in(MACHINES, "CLIENT_GONE")
def finds_the_page_gone(v: Visitor) -> None:
    """The page dies while the PIN is asked for, and is loaded again later."""
    v.to_pin()
    v.page.goto("about:blank")
    v.screen_leaps(without_page=True)
    v.until_status(lambda status: status.running_state == STATE_REMOVE_CARD)
    v.come()
    refused(v, "CLIENT_GONE")


@_in(MACHINES)
def opens_a_second_page(v: Visitor) -> None:
    """Another page of the same browser has the screen."""
    v.at("idle")
    with contextlib.closing(v.page.context.new_page()) as other:
        other.set_viewport_size({"width": 1024, "height": 768})
        v.before(other).at("page_in_use")


SCENARIOS = (*VISITS, *CARDS, *MACHINES)
