"""What operators may see of an exchange: name, header, lengths, status word."""

from __future__ import annotations

import pytest

from gatewayd.card.link import COMMAND_NAMES, command_name, observed
from gatewayd.errors import DeadlineExceeded, TransmitFailed
from tests.unit.gatewayd.card.script import SELECT, VERIFY_1357, ScriptedCard

Seen = tuple[str, float, str, int, int, int | None]


class Watch:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._time = 0.0

    def observe(
        self, name: str, seconds: float, header: str, sent: int, received: int, status_word: int | None, /
    ) -> None:
        self.seen.append((name, seconds, header, sent, received, status_word))

    def monotonic(self) -> float:
        self._time += 0.5
        return self._time


def test_exchange_is_told_without_its_content() -> None:
    watch = Watch()
    link = observed(ScriptedCard({VERIFY_1357: "63C2"}), watch.observe, watch.monotonic)
    assert link.transmit(bytes.fromhex(VERIFY_1357)) == bytes.fromhex("63C2")
    assert watch.seen == [("verify", 0.5, "00200098", 9, 2, 0x63C2)]
    assert "31333537" not in repr(watch.seen)


@pytest.mark.parametrize("error", [TransmitFailed("torn"), DeadlineExceeded("over")])
def test_failed_exchange_is_told_and_raised(error: TransmitFailed) -> None:
    watch = Watch()
    link = observed(ScriptedCard({SELECT: error}), watch.observe, watch.monotonic)
    with pytest.raises(type(error)):
        link.transmit(bytes.fromhex(SELECT))
    assert watch.seen == [("select", 0.5, "00a4040c", 15, 0, None)]


def test_reset_is_passed_on() -> None:
    card = ScriptedCard()
    observed(card, Watch().observe, Watch().monotonic).reset()
    assert card.sent == ["RESET"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("00200098", "verify_query"),
        (VERIFY_1357, "verify"),
        (SELECT, "select"),
        ("00B08A0000", "read_binary"),
        ("002A009733", "sign"),
        ("8050310008", "initialize_update"),
        ("8482130010", "external_authenticate"),
        ("042C029B28", "reset_retry_counter"),
        ("00CA0042", "other"),
        ("00", "other"),
    ],
)
def test_names_are_a_bounded_set(command: str, name: str) -> None:
    assert command_name(bytes.fromhex(command)) == name
    assert name in COMMAND_NAMES
