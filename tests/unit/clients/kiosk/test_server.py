"""The server between a page and the daemon, over real connections. The page is played, and so is the daemon."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from jpkireset.gateway.v1 import reason_pb2
from jpkireset.gateway.v1 import reset_service_pb2 as reset

from jpki_kiosk import gateway, logs, sight
from jpki_kiosk.preferences import Preferences
from jpki_kiosk.render import Renderer
from jpki_kiosk.screens import Screen
from tests.rig.played_page import Page
from tests.unit.clients.kiosk.conftest import Machine
from tests.unit.clients.kiosk.daemon import PlayedAttempt

TO_TERMS = ("touch", "reset", "signing-password", "ready")
PIN, PASSWORD = b"4711", b"CANARY99XY"


async def begin(machine: Machine, page: Page) -> PlayedAttempt:
    """Go to the terms and agree."""
    await page.go(*TO_TERMS)
    await page.at("terms")
    assert (await page.press("agree")).accepted
    return await machine.daemon.attempt()


async def to_the_pin(machine: Machine, page: Page, tries: int = 3) -> PlayedAttempt:
    """Begin, place the card, be asked for the PIN."""
    attempt = await begin(machine, page)
    await attempt.show(reset.STATE_WAITING_FOR_CARD, card_request=reset.CARD_REQUEST_PLACE, seconds_left=60)
    await attempt.show(reset.STATE_READING_CARD, busy=True)
    await attempt.ask_for_pin(tries)
    await page.at("user_pin_last_try" if tries == 1 else "user_pin")
    return attempt


async def to_the_writing(machine: Machine, page: Page) -> PlayedAttempt:
    """Go on until the card is being changed."""
    attempt = await to_the_pin(machine, page)
    await attempt.show(reset.STATE_WRITING, busy=True)
    await page.at("writing")
    return attempt


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is looked after ten times a second."""
    monkeypatch.setattr(sight, "PROBE_S", 0.1)
    monkeypatch.setattr(gateway, "STATUS_S", 0.3)


async def test_a_whole_reset_shows_every_screen_and_sends_each_secret_once(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    assert (await page.enter("/user-pin", PIN)).accepted
    request = await attempt.take()
    assert (request.view_number, request.user_pin.user_pin) == (attempt.number, PIN)
    assert not request.user_pin.last_try_confirmed
    await attempt.ask_for_pin(3, busy=True)
    await page.at("user_pin_busy")
    await attempt.show(reset.STATE_CHECKING_RESERVATION, busy=True)
    await page.at("checking")
    await attempt.show(reset.STATE_ENTER_NEW_PASSWORD, seconds_left=180)
    assert (await page.at("new_password"))["seconds_left"] == 180
    assert (await page.enter("/new-password", PASSWORD)).accepted
    request = await attempt.take()
    assert (request.view_number, request.new_password.new_password) == (attempt.number, PASSWORD)
    await attempt.show(reset.STATE_AUTHORIZING, busy=True)
    await page.at("authorizing")
    await attempt.show(reset.STATE_WRITING, busy=True)
    await page.at("writing")
    lift = {"outcome": reset.OUTCOME_DONE, "card_request": reset.CARD_REQUEST_LIFT}
    await attempt.show(reset.STATE_REMOVE_CARD, **lift)
    await page.at("outcome", sound="chime", sound_every_s=None)
    await attempt.show(reset.STATE_REMOVE_CARD, reminder_stage=2, **lift)
    await page.at("take_card", stage=2, sound="attention", sound_every_s=8)
    await attempt.end(reset.OUTCOME_DONE)
    assert (await page.at("end"))["seconds_left"] == 5
    await machine.pass_time(page, 5)
    await page.until_wiped()
    assert machine.memory.load() is None
    async with machine.page().open() as next_one:
        await next_one.at("idle")


async def test_a_double_press_counts_once(machine: Machine, page: Page) -> None:
    view = page.event["view"]
    answers = await asyncio.gather(page.press("touch", view), page.press("touch", view))
    assert sorted(answer.accepted for answer in answers) == [False, True]
    await page.at("services")
    await page.go("reset", "signing-password", "ready")
    view = page.event["view"]
    await asyncio.gather(page.press("agree", view), page.press("agree", view))
    attempt = await machine.daemon.attempt()
    await attempt.ask_for_pin()
    view = (await page.at("user_pin"))["view"]
    entries = await asyncio.gather(*(page.enter("/user-pin", PIN, view) for _ in range(3)))
    assert sorted(answer.accepted for answer in entries) == [False, False, True]
    assert (await attempt.take()).HasField("user_pin")
    assert (await page.press("cancel")).accepted
    assert (await attempt.take()).HasField("cancel"), "a second PIN was sent"


async def test_an_answer_to_an_older_screen_is_dropped(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    older = page.event["view"]
    await attempt.show(reset.STATE_ENTER_USER_PIN, card_request=reset.CARD_REQUEST_PLACE_SAME, seconds_left=60)
    await page.at("card_again")
    await attempt.ask_for_pin(2)
    await page.at("user_pin")
    assert not (await page.enter("/user-pin", PIN, older)).accepted
    assert not (await page.press("cancel", older)).accepted
    assert not (await page.enter("/new-password", PASSWORD)).accepted, "nobody asked for it"
    assert (await page.enter("/user-pin", PIN)).accepted
    assert (await attempt.take()).view_number == attempt.number


async def test_the_last_try_reaches_the_daemon_only_when_it_was_confirmed(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page, tries=1)
    assert not (await page.enter("/user-pin", PIN)).accepted
    await page.go("confirm-last-try")
    await page.go("back")
    await page.at("user_pin_last_try")
    await page.go("confirm-last-try")
    await page.at("user_pin")
    assert (await page.enter("/user-pin", PIN)).accepted
    assert (await attempt.take()).user_pin.last_try_confirmed


async def test_a_confirmation_holds_for_one_entry(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page, tries=1)
    await page.go("confirm-last-try")
    await attempt.ask_for_pin(1, busy=True)
    await page.at("user_pin_busy")
    await attempt.ask_for_pin(1, input_problem=reset.INPUT_PROBLEM_CARD_LIFTED)
    await page.at("user_pin_last_try")


async def test_next_without_a_card_says_that_there_is_none_yet(machine: Machine, page: Page) -> None:
    attempt = await begin(machine, page)
    await attempt.show(reset.STATE_WAITING_FOR_CARD, card_request=reset.CARD_REQUEST_PLACE)
    before = (await page.at("place_card"))["html"]
    assert (await page.press("next")).accepted
    await page.until(lambda event: event["html"] != before)
    assert page.event["name"] == "place_card"
    await attempt.show(reset.STATE_READING_CARD, busy=True)
    await page.at("reading")


async def test_more_time_is_the_daemons_to_give(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    await machine.pass_time(page, 70)
    async with machine.page_again(page) as again:
        assert (await again.at("user_pin"))["seconds_left"] == 20
        assert (await again.press("more-time")).accepted
        request = await attempt.take()
        assert request.HasField("more_time")
        await attempt.ask_for_pin()
        assert (await again.at("user_pin", seconds_left=90))["can_extend"]


async def test_preferences_draw_the_same_screen_anew_and_end_with_the_visit(machine: Machine, page: Page) -> None:
    await page.go("touch")
    view, japanese = page.event["view"], page.event["html"]
    for press, key, value in (
        ("language-en", "lang", "en"),
        ("size-large", "size", "large"),
        ("theme-contrast", "theme", "contrast"),
    ):
        assert (await page.press(press, view=0)).accepted
        await page.at("services", view=view, **{key: value})
    assert page.event["html"] != japanese
    assert not (await page.press("language-xx")).accepted
    assert (await page.press("back")).accepted
    await page.until_wiped()
    async with machine.page().open() as next_one:
        await next_one.at("idle", lang="ja", size="standard", theme="standard")


async def test_help_covers_a_screen_until_it_is_closed_or_overtaken(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    await page.go("help")
    assert page.event["name"] == "help"
    assert not (await page.enter("/user-pin", PIN)).accepted
    await page.go("close-help")
    await page.at("user_pin")
    await page.go("help")
    await attempt.end(reset.OUTCOME_NOT_DONE, reason_pb2.REASON_TIMED_OUT)
    await page.at("end")


async def test_a_place_before_the_attempt_ends_by_itself_and_can_be_kept(machine: Machine, page: Page) -> None:
    await page.go("touch", "reset")
    assert (page.event["seconds_left"], page.event["can_extend"]) == (90, True)
    await machine.pass_time(page, 80)
    assert (await page.press("more-time")).accepted
    await page.until(lambda event: event["seconds_left"] == 90)
    await machine.pass_time(page, 80)
    assert page.event["name"] == "procedure"
    await machine.pass_time(page, 10)
    await page.until_wiped()


async def test_a_page_loaded_anew_finds_its_attempt(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    async with machine.page_again(page) as again:
        assert again.token != page.token
        await again.at("user_pin")
        assert (await page.beat()).status == 403, "the old page has still the screen"
        assert (await page.press("cancel")).status == 403
        assert (await page.enter("/user-pin", PIN)).status == 403
        assert (await again.enter("/user-pin", PIN)).accepted
        assert (await attempt.take()).user_pin.user_pin == PIN
    assert not attempt.left.is_set()


async def test_a_second_page_is_refused_while_the_first_is_there(machine: Machine, page: Page) -> None:
    await page.go("touch")
    second = machine.page()
    answer = await second.load()
    assert answer.status == 409
    assert b'data-name="page_in_use"' in answer.body
    assert second.token == ""
    assert (await second.request("GET", "/events")).status == 403
    assert (await second.request("POST", "/press/reset", headers={"X-View": "2"})).status == 403
    assert (await page.beat()).accepted
    await page.go("reset")
    machine.clock.seconds += 10  # the first one beats no more: frozen
    assert (await second.load()).status == 200
    assert (await page.beat()).status == 403
    seen = len(page.events)
    await machine.daemon.say(ready=False, problems=["READINESS_PROBLEM_MAINTENANCE"])
    await page.until_closed()
    assert len(page.events) == seen, "a page that has lost the screen is still shown it"


async def test_without_a_beat_the_stream_is_let_go_and_the_outcome_is_asked_for(machine: Machine, page: Page) -> None:
    attempt = await to_the_writing(machine, page)
    machine.daemon.record(attempt, reset.STATE_WRITING)
    machine.clock.seconds += 9.5
    assert (await page.beat()).accepted
    await asyncio.wait_for(page.until(lambda event: True), 1)
    assert not attempt.left.is_set()
    machine.clock.seconds += 10
    async with asyncio.timeout(10):
        await attempt.left.wait()
    await page.at("asking_outcome")
    await machine.pass_time(page, 30)
    assert page.event["name"] == "asking_outcome", "a running attempt is no outcome, however long it runs"
    machine.daemon.record(attempt, reset.STATE_REMOVE_CARD, reset.OUTCOME_DONE)
    await machine.daemon.say(ready=False, card_present=True, running_attempt_id=attempt.id)
    await page.at("outcome")
    await machine.pass_time(page, 30)
    await page.at("take_card", stage=2)
    machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_DONE)
    await machine.daemon.say(ready=True)
    await page.at("end")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (reset.OUTCOME_NOT_DONE, reason_pb2.REASON_CLIENT_GONE),
        (reset.OUTCOME_UNKNOWN, reason_pb2.REASON_OUTCOME_UNRESOLVED),
        (reset.OUTCOME_DONE, reason_pb2.REASON_UNSPECIFIED),
    ],
)
async def test_a_daemon_that_comes_back_tells_the_outcome(
    machine: Machine, page: Page, outcome: reset.Outcome.ValueType, reason: reason_pb2.Reason.ValueType
) -> None:
    attempt = await to_the_writing(machine, page)
    await machine.daemon.stop()
    await page.at("asking_outcome")
    machine.daemon.record(attempt, reset.STATE_FINISHED, outcome, reason)
    await machine.daemon.start()
    await page.at("end")
    assert machine.daemon.asked_for[0] == attempt.id


async def test_a_daemon_that_stays_away_leaves_the_outcome_unsaid(machine: Machine, page: Page) -> None:
    attempt = await to_the_writing(machine, page)
    await machine.daemon.stop()
    await page.at("asking_outcome")
    await machine.pass_time(page, 60)
    html = (await page.at("outcome_unlearnt"))["html"]
    assert f"{attempt.id[:4]} {attempt.id[4:8]}".upper() in html
    machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_DONE)
    await machine.daemon.start()
    await page.at("end")


async def test_a_record_that_is_gone_is_no_outcome_either(machine: Machine, page: Page) -> None:
    """The daemon sent views of this attempt: when it knows it no more, nobody may say that nothing was changed."""
    attempt = await to_the_writing(machine, page)
    attempt.over.set()
    await page.at("asking_outcome")
    await machine.pass_time(page, 60)
    await page.at("outcome_unlearnt")


async def test_an_outcome_that_was_told_stays_when_the_daemon_goes_and_ends_by_itself(
    machine: Machine, page: Page
) -> None:
    attempt = await to_the_writing(machine, page)
    await attempt.show(reset.STATE_REMOVE_CARD, outcome=reset.OUTCOME_DONE, card_request=reset.CARD_REQUEST_LIFT)
    view = (await page.at("outcome"))["view"]
    await machine.daemon.stop()
    await page.until(lambda event: event["view"] > view)  # the record is asked for
    await machine.pass_time(page, 60)
    assert page.event["name"] == "outcome"
    await page.until(lambda event: event["seconds_left"] is not None)
    await machine.pass_time(page, 60)
    await page.until_wiped()


async def test_a_daemon_that_is_stopped_waits_for_no_card_but_the_screen_does(machine: Machine, page: Page) -> None:
    attempt = await to_the_pin(machine, page)
    await machine.daemon.say(
        ready=False, problems=["READINESS_PROBLEM_DRAINING"], card_present=True, running_attempt_id=attempt.id
    )
    await attempt.end(reset.OUTCOME_NOT_DONE, reason_pb2.REASON_DRAINING)
    await page.at("outcome")
    await machine.daemon.stop()
    await page.until(lambda event: event["name"] == "outcome" and event["seconds_left"] is not None)
    await machine.daemon.say(ready=False, problems=["READINESS_PROBLEM_CARD_LEFT_BEHIND"], card_present=True)
    await machine.daemon.start()
    await page.until(lambda event: event["name"] == "outcome" and event["seconds_left"] is None)
    await machine.daemon.say(ready=True)
    await page.at("end")


async def test_a_daemon_that_is_frozen_is_left_and_asked(quick_probes: None, machine: Machine, page: Page) -> None:
    attempt = await to_the_writing(machine, page)
    machine.daemon.mute = True
    async with asyncio.timeout(10):
        await attempt.left.wait()
    await page.at("asking_outcome")
    machine.daemon.mute = False
    machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_DONE)
    await page.at("end")


async def test_an_attempt_needs_no_memory(machine: Machine, page: Page) -> None:
    """Where the disk takes nothing, only a restart could not tell the outcome."""
    (machine.daemon.socket.parent / "state").rmdir()
    attempt = await to_the_writing(machine, page)
    await attempt.end(reset.OUTCOME_DONE)
    await page.at("end")


async def test_a_start_that_was_never_answered_is_told_after_a_restart(machine: Machine) -> None:
    async with machine.page().open() as page:
        await page.at("idle")
        await begin(machine, page)
        await page.at("admitting")
    await machine.stop()
    await machine.start()
    async with machine.page().open() as page:
        await page.at("not_begun")
        await machine.pass_time(page, 60)
        await page.until_wiped()


async def test_a_language_chosen_and_left_is_forgotten(machine: Machine, page: Page) -> None:
    assert (await page.press("language-en")).accepted
    await page.at("idle", lang="en", seconds_left=90, can_extend=False)
    await machine.pass_time(page, 90)
    await page.until_wiped()


async def test_idle_says_when_the_daemon_goes_and_comes_back(machine: Machine, page: Page) -> None:
    await machine.daemon.stop()
    await page.at("daemon_down")
    assert not (await page.press("touch")).accepted
    assert (await page.press("retry")).accepted
    await machine.daemon.start()
    await page.at("idle")


async def test_nobody_begins_what_could_not_be_carried_out(machine: Machine, page: Page) -> None:
    await page.go(*TO_TERMS)
    await machine.daemon.say(ready=False, problems=["READINESS_PROBLEM_CENTRAL_UNAVAILABLE"])
    await page.at("central_trouble")
    assert not (await page.press("agree")).accepted
    await machine.daemon.say(ready=True)
    await page.at("terms")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED])
async def test_an_attempt_the_daemon_never_accepted_was_not_begun(
    machine: Machine, page: Page, code: grpc.StatusCode
) -> None:
    machine.daemon.refuse_attempts = code
    await page.go(*TO_TERMS)
    assert (await page.press("agree")).accepted
    await page.at("not_begun")
    assert len(machine.daemon.asked_for) >= 2, "one answer could be too early"
    assert (await page.press("finish")).accepted
    await page.until_wiped()


async def test_an_attempt_that_is_known_already_is_told_by_its_record(machine: Machine, page: Page) -> None:
    machine.daemon.refuse_attempts = grpc.StatusCode.ALREADY_EXISTS
    machine.daemon.refuse_records = grpc.StatusCode.UNAVAILABLE
    await page.go(*TO_TERMS)
    assert (await page.press("agree")).accepted
    await page.at("asking_outcome")
    known = machine.memory.load()
    assert known
    attempt = PlayedAttempt(None, known.attempt_id)
    machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_NOT_DONE, reason_pb2.REASON_CLIENT_GONE)
    machine.daemon.refuse_records = None
    await page.at("end")


async def test_a_refusal_at_the_door_is_told(machine: Machine, page: Page) -> None:
    attempt = await begin(machine, page)
    await attempt.end(reset.OUTCOME_NOT_DONE, reason_pb2.REASON_BUSY)
    assert (await page.at("end"))["seconds_left"] == 60
    assert (await page.press("finish")).accepted
    await page.until_wiped()


async def test_a_restarted_server_tells_the_outcome(machine: Machine) -> None:
    async with machine.page().open() as page:
        await page.at("idle")
        attempt = await to_the_writing(machine, page)
    await machine.stop()
    async with asyncio.timeout(10):
        await attempt.left.wait()
    machine.daemon.record(attempt, reset.STATE_WRITING)
    await machine.start()
    async with machine.page().open() as page:
        await page.at("asking_outcome")
        machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_DONE)
        await page.at("end")
        assert (await page.press("finish")).accepted
        await page.until_wiped()
    assert machine.memory.load() is None


async def test_a_restarted_server_knows_that_views_had_come(machine: Machine) -> None:
    """The daemon has lost its journal: nobody may say that nothing was begun."""
    async with machine.page().open() as page:
        await page.at("idle")
        await to_the_writing(machine, page)
    await machine.stop()
    await machine.start()
    async with machine.page().open() as page:
        await page.at("asking_outcome")
        await machine.pass_time(page, 60)
        await page.at("outcome_unlearnt")


async def test_an_ending_of_long_ago_is_nobodys_any_more(machine: Machine) -> None:
    async with machine.page().open() as page:
        await page.at("idle")
        attempt = await to_the_writing(machine, page)
    await machine.stop()
    machine.daemon.record(attempt, reset.STATE_FINISHED, reset.OUTCOME_DONE)
    machine.daemon.records[attempt.id].ended_at.FromDatetime(machine.clock.now())
    machine.clock.seconds += 601
    await machine.start()
    async with machine.page().open() as page:
        await page.until(lambda event: page.wiped or event["name"] == "idle")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "127.0.0.1"}),
        ("GET", "/", {"Host": ""}),
        ("GET", "/", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", "/", {"Sec-Fetch-Site": "same-site"}),
        ("GET", "/", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", "/static/js/page.js", {"Host": "evil.example"}),
        ("GET", "/events", {"X-Page-Token": ""}),
        ("GET", "/events", {"X-Page-Token": "0" * 32}),
        ("POST", "/press/touch", {"X-Page-Token": ""}),
        ("POST", "/press/touch", {"X-Page-Token": "é"}),
        ("POST", "/press/touch", {"Origin": "https://evil.example"}),
        ("POST", "/press/touch", {"Origin": "null"}),
        ("POST", "/press/touch", {"Origin": ""}),
        ("POST", "/press/touch", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", "/user-pin", {"X-Page-Token": ""}),
        ("POST", "/new-password", {"Origin": "http://localhost:1"}),
        ("POST", "/beat", {"X-Page-Token": "0" * 32}),
    ],
)
async def test_what_no_page_of_ours_sends_is_refused(
    page: Page, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await page.request(method, path, headers={"X-View": str(page.event["view"]), **headers})
    assert answer.status in (400, 403)
    assert (await page.press("touch")).accepted, "the page is where it was"


async def test_a_page_may_be_asked_for_by_the_name_of_the_machine(machine: Machine) -> None:
    port = machine.address.rpartition(":")[2]
    answer = await machine.page().request("GET", "/", headers={"Host": f"localhost:{port}"})
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/static/js/page.js", "/nothing", "/static/../pyproject.toml"])
async def test_every_answer_has_the_strict_headers(machine: Machine, path: str) -> None:
    headers = (await machine.page().request("GET", path)).headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"):
        assert rule in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


async def test_the_document_names_nothing_foreign_and_holds_no_script(machine: Machine) -> None:
    body = (await machine.page().load()).body.decode()
    assert "<script>" not in body
    assert " style=" not in body
    assert " onclick" not in body
    assert "//" not in body.replace("<!doctype", "").replace("http://www.w3.org/2000/svg", "")


async def test_a_secret_is_in_no_log_answer_or_file(
    machine: Machine, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    attempt = await to_the_pin(machine, page)
    await page.enter("/user-pin", PIN)
    await attempt.take()
    await attempt.show(reset.STATE_ENTER_NEW_PASSWORD, seconds_left=180)
    await page.at("new_password")
    await page.enter("/new-password", PASSWORD)
    await attempt.take()
    attempt.over.set()
    await page.at("asking_outcome")
    assert not (await page.enter("/new-password", PASSWORD)).accepted
    assert (await page.enter("/new-password", PASSWORD * 20)).status == 413
    told = b"".join(page.told) + caplog.text.encode() + repr([vars(record) for record in caplog.records]).encode()
    for file in machine.daemon.socket.parent.rglob("*"):
        told += file.read_bytes() if file.is_file() else b""
    assert PASSWORD not in told
    assert PIN not in told.replace(attempt.id.encode(), b"")


async def test_a_secret_of_impossible_length_is_not_taken(machine: Machine, page: Page) -> None:
    await to_the_pin(machine, page)
    assert (await page.enter("/user-pin", b"1" * 65)).status == 413
    assert not (await page.enter("/user-pin", b"")).accepted
    assert (await page.enter("/user-pin", PIN)).accepted


class _Mistaken(Renderer):
    """Templates with a mistake in one screen."""

    def fragment(self, screen: Screen, preferences: Preferences) -> str:
        if screen.name == "services":
            raise LookupError(f"a mistake that holds {PASSWORD!r}")
        return super().fragment(screen, preferences)

    def document(self, screen: Screen, preferences: Preferences, *, token: str) -> str:
        self.fragment(screen, preferences)
        return super().document(screen, preferences, token=token)


@pytest.mark.parametrize("renderer", [_Mistaken(panel="1024x768")])
async def test_a_screen_that_cannot_be_drawn_is_no_end_of_the_others(
    machine: Machine, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await page.press("touch")).accepted
    answer = await machine.page().request("GET", "/")
    assert answer.status == 500
    assert b'http-equiv="refresh"' in answer.body
    assert PASSWORD not in answer.body
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    machine.clock.seconds += 90
    again = machine.page()
    async with asyncio.timeout(10):
        while (await again.load()).status != 200:
            await asyncio.sleep(0.05)
    assert b'data-name="idle"' in again.told[-1]
    lines = [logs.JsonFormatter(priority=False).format(record) for record in caplog.records]
    assert any("LookupError at " in line for line in lines)
    assert PASSWORD.decode() not in "".join(lines)
