"""The small parts of the kiosk's screen: configuration, command line, memory, preferences, who has the screen."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tomllib
from pathlib import Path

import pytest
from jpkireset.gateway.v1 import gateway_service_pb2, reason_pb2
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from typer.testing import CliRunner

from jpki_kiosk import cli, logs
from jpki_kiosk.attempt import REMINDERS_S
from jpki_kiosk.config import PANELS, Config, ConfigError, load
from jpki_kiosk.gateway import record_of, status_of, view_of
from jpki_kiosk.memory import FILE, Memory, MemoryUnusable, Remembered
from jpki_kiosk.page import Pages
from jpki_kiosk.preferences import Preferences, changed
from jpki_kiosk.values import CardRequest, Outcome, State
from tests.unit.clients.kiosk.conftest import StandingClock

LANGUAGES = ("ja", "en", "zh_Hans", "ko")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('gatway = "unix:/x"', "gatway"),
        ("listen = 8180", "$.listen"),
        ('listen = "0.0.0.0:8180"', "$.listen"),
        ('listen = "127.0.0.1:x"', "$.listen"),
        ('listen = "127.0.0.1:65536"', "$.listen"),
        ('gateway = "/run/gatewayd/api.sock"', "$.gateway"),
        ('gateway = "127.0.0.1:50051"', "$.gateway"),
        ('panel = "640x480"', "$.panel"),
        ('log_level = "loud"', "$.log_level"),
        ("listen = = 1", "not TOML: Invalid value (at line 1"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text('listen = "127.0.0.1:1"\npanel = "1280x800"')
    config = load(file, listen="[::1]:2", panel=None)
    assert (config.host, config.port, config.panel) == ("[::1]", 2, "1280x800")
    assert load(None) == Config()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--config", "/nowhere/kiosk.toml"], cli.USAGE, "/nowhere/kiosk.toml"),
        (["--listen", "0.0.0.0:80"], cli.USAGE, "$.listen"),
        (["--state-directory", "/proc/nowhere"], cli.CANNOT_SERVE, "/proc/nowhere"),
        (["--nonsense"], cli.USAGE, "--nonsense"),
    ],
)
def test_what_cannot_be_served_ends_with_a_code_and_a_sentence(arguments: list[str], code: int, words: str) -> None:
    level, handlers = logging.root.level, logging.root.handlers[:]
    try:
        result = CliRunner().invoke(cli.app, arguments)
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output


def test_help_names_every_key_panel_and_exit_code() -> None:
    text = CliRunner().invoke(cli.app, ["--help"]).output
    for word in (*Config.__struct_fields__, *PANELS):
        assert word.replace("_", "-") in text or word in text
    assert "0  stopped" in text


def test_the_memory_survives_and_is_only_the_owners(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "state")
    memory.prepare()
    assert memory.load() is None
    memory.save(Remembered("an-id", accepted=True))
    assert Memory(tmp_path / "state").load() == Remembered("an-id", accepted=True)
    file = tmp_path / "state" / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes()) == {"attempt_id": "an-id", "accepted": True}
    memory.forget()
    memory.forget()
    assert memory.load() is None


def test_what_is_remembered_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it gets its name, and then the folder that has the name."""
    steps: list[tuple[str, bool]] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        steps.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, (tmp_path / FILE).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    Memory(tmp_path).save(Remembered("an-id", accepted=False))
    assert steps == [("attempt.new", False), (tmp_path.name, True)]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"attempt_id": 1, "accepted": true}'])
def test_a_broken_memory_remembers_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert Memory(tmp_path).load() is None


def test_a_state_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = Memory(tmp_path / "file" / "state")
    with pytest.raises(MemoryUnusable, match="Not a directory"):
        memory.prepare()
    with pytest.raises(MemoryUnusable):
        memory.save(Remembered("an-id", accepted=False))
    memory.forget()


@pytest.mark.parametrize(
    ("press", "after"),
    [
        ("language-zh_Hans", Preferences(language="zh_Hans")),
        ("size-large", Preferences(size="large")),
        ("theme-contrast", Preferences(theme="contrast")),
        ("furigana", Preferences(furigana=True)),
        ("easy", Preferences(easy=True)),
    ],
)
def test_each_preference_is_one_press(press: str, after: Preferences) -> None:
    assert changed(Preferences(), press, LANGUAGES) == after


@pytest.mark.parametrize("press", ["", "language-", "language-xx", "language-../ja", "size-huge", "touch", "__class__"])
def test_nothing_else_is_a_preference(press: str) -> None:
    assert changed(Preferences(), press, LANGUAGES) is None


def test_the_languages_are_named_as_html_names_them() -> None:
    assert [Preferences(language=language).lang for language in LANGUAGES] == ["ja", "en", "zh-Hans", "ko"]


async def test_the_screen_is_lent_to_one_page() -> None:
    clock = StandingClock()
    pages = Pages(clock)
    first = await pages.admit()
    assert first is not None
    first.open_stream()
    assert await pages.admit() is None
    assert pages.find(first.token) is first
    assert pages.find("") is pages.find("é") is pages.find(first.token[:-1]) is None
    asyncio.get_running_loop().call_soon(first.close_stream)  # it is being loaded anew: its stream ends a moment later
    second = await pages.admit()
    assert second is not None
    assert first.over.is_set()
    assert pages.find(first.token) is None
    assert len({first.token, second.token}) == 2
    assert len(bytes.fromhex(second.token)) == 16


async def test_a_page_is_lost_ten_seconds_after_its_last_beat() -> None:
    clock = StandingClock()
    pages = Pages(clock)
    clock.seconds = 10
    assert pages.lost, "no page ever came"
    page = await pages.admit()
    assert page is not None
    page.open_stream()
    clock.seconds += 9.9
    assert not pages.lost
    pages.beat(page)
    clock.seconds += 9.9
    assert not pages.lost
    clock.seconds += 0.1
    assert pages.lost
    assert await pages.admit() is not None, "a frozen page keeps the screen"


def test_every_number_of_the_contract_has_a_name_of_ours() -> None:
    for number in reset.State.values():
        assert view_of(reset.View(state=number)).state.name == reset.State.Name(number).removeprefix("STATE_")
    for request in reset.CardRequest.values()[1:]:
        name = reset.CardRequest.Name(request).removeprefix("CARD_REQUEST_")
        assert view_of(reset.View(card_request=request)).card_request.name == name
    for outcome in reset.Outcome.values()[1:]:
        ours = view_of(reset.View(outcome=outcome)).outcome
        assert ours
        assert ours.name == reset.Outcome.Name(outcome).removeprefix("OUTCOME_")
    for reason in reason_pb2.Reason.values()[1:]:
        name = reason_pb2.Reason.Name(reason).removeprefix("REASON_")
        assert view_of(reset.View(reason=reason)).reason == name
        assert record_of(gateway_service_pb2.Attempt(reason=reason)).reason == name


def test_a_later_version_of_the_contract_is_taken_for_what_is_sure() -> None:
    view = view_of(reset.View(state=99, card_request=99, outcome=99, reason=999, input_problem=99))  # type: ignore[arg-type]
    assert (view.state, view.card_request) == (State.UNSPECIFIED, CardRequest.NONE)
    assert view.outcome is view.reason is view.problem is None
    status = status_of(gateway_service_pb2.Status(problems=[99]))  # type: ignore[list-item]
    assert status.problems == ("UNSPECIFIED",)
    assert Outcome("done") is Outcome.DONE


def test_the_reminders_without_a_stream_come_when_the_daemons_come() -> None:
    """`REMINDERS_S` of gatewayd/dialogue/table.py are waits, these are sums of them."""
    from gatewayd.dialogue.table import REMINDERS_S as WAITS

    assert sorted(REMINDERS_S.values()) == [sum(WAITS[: index + 1]) for index in range(len(WAITS))]
    assert sorted(REMINDERS_S) == [1, 2, 3]


def test_a_log_line_shows_where_an_exception_came_from_and_not_its_text() -> None:
    try:
        raise ValueError("CANARY")
    except ValueError as error:
        record = logging.LogRecord("jpki_kiosk", logging.ERROR, "f", 1, "fault", None, (ValueError, error, None))
    line = logs.JsonFormatter(priority=True).format(record)
    assert line.startswith("<3>")
    assert "CANARY" not in line
    assert "ValueError at " in json.loads(line[3:])["exception"][0]


def test_the_package_is_what_its_project_file_says() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "clients/kiosk/pyproject.toml").read_text())["project"]
    from jpki_kiosk import __version__

    assert project["version"] == __version__
