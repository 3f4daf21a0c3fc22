"""What befalls the kiosk and what is around it."""

from __future__ import annotations

import contextlib
import signal
import sqlite3

from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1.reset_service_pb2 import STATE_REMOVE_CARD

from tests.rig.circumstances import closed_hours, full_disk, kiosk_disabled, maintained
from tests.rig.rival import Rival
from tests.rig.scenarios.table import Table, held, refused
from tests.rig.visitor import Visitor

BACKUP = "file:before?mode=memory"
RACES = 6  # who of two is first is for the daemon's operating system to say

MACHINES = Table()


@MACHINES.of("OUT_OF_HOURS")
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


@MACHINES.of("MAINTENANCE")
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


@MACHINES.of("KIOSK_NOT_ENABLED")
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


@MACHINES.of("READER_UNAVAILABLE")
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


@MACHINES.of("CENTRAL_UNAVAILABLE")
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


@MACHINES.of("CARD_LEFT_BEHIND")
def finds_a_card(v: Visitor) -> None:
    """A card has been lying on the reader since the daemon started."""
    v.at("idle")
    v.place("other-person")
    v.until_status(lambda status: status.card_present)
    v.stack.gatewayd.restart()
    v.at("card_left_behind")
    v.lift()
    v.at("idle")


@MACHINES.of("BUSY")
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


@MACHINES.of("JOURNAL_UNAVAILABLE")
def meets_a_full_disk(v: Visitor) -> None:
    """The daemon cannot write its journal when the change is confirmed."""
    v.reserve()
    v.to_password()
    with full_disk(v.stack):
        v.choose()
        refused(v, "JOURNAL_UNAVAILABLE")
    v.stack.gatewayd.restart()


@MACHINES.of("DRAINING")
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


@MACHINES.of("RESTARTED")
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


@MACHINES.of("RESTARTED")
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


@MACHINES.of()
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


@MACHINES.of()
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


@MACHINES.of("INTERNAL")
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


@MACHINES.of("CLIENT_GONE")
def finds_the_page_gone(v: Visitor) -> None:
    """The page dies while the PIN is asked for, and is loaded again later."""
    v.to_pin()
    v.page.goto("about:blank")
    v.screen_leaps(without_page=True)
    v.until_status(lambda status: status.running_state == STATE_REMOVE_CARD)
    v.come()
    refused(v, "CLIENT_GONE")


@MACHINES.of()
def opens_a_second_page(v: Visitor) -> None:
    """Another page of the same browser has the screen."""
    v.at("idle")
    with contextlib.closing(v.page.context.new_page()) as other:
        other.set_viewport_size({"width": 1024, "height": 768})
        v.before(other).at("page_in_use")
