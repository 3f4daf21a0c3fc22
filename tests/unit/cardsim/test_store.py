"""card.json: what a card is after a power cut of the simulator itself."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cardsim import persona, store
from cardsim.card import Card
from cardsim.memory import Memory
from tests.unit.cardsim.making import QUERY_SIGNING_PASSWORD, SELECT_JPKI, IssueCard, send, verify


@pytest.fixture
def memory(issue_card: IssueCard) -> Memory:
    """The memory of a new card."""
    return issue_card(persona.load("forgotten")).memory


def test_a_card_comes_back_as_it_was(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    card = Card(memory, bytes)
    card.power_on()
    assert send(card, SELECT_JPKI, verify("9B", b"WRONG1")) == "63C4"
    memory.channel.failures = 3
    store.save(memory, path)
    restored = store.load(path)
    assert restored.mutable_state() == memory.mutable_state()
    again = Card(restored, bytes)
    again.power_on()
    commands = (SELECT_JPKI, verify("98", b"1357"), "802A0097041122334400")
    assert send(again, *commands) == send(card, *commands)
    assert send(again, QUERY_SIGNING_PASSWORD) == "63C4"
    update = "8050310008A0A1A2A3A4A5A6A700"
    assert send(again, update) == send(card, update)


def test_only_the_owner_may_read_it(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    store.save(memory, path, exclusive=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.save(memory, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_card_does_not_take_the_place_of_another(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        store.save(memory, path, exclusive=True)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format": 1', '"format": 2'),
        ('"aid": "A0', '"aid": "XX'),
        ('"failures"', '"failure"'),
        ('"tries": 5', '"try": 5'),
        ("-----BEGIN PRIVATE KEY", "-----BEGIN"),
    ],
)
def test_what_is_not_a_card_is_refused_with_its_path(memory: Memory, tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "card.json"
    store.save(memory, path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(store.StoreError, match=r"card\.json"):
        store.load(path)
