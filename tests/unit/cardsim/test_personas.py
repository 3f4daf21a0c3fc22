"""The personas: each card differs from the good one in what its name says, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from yubikit.core import BadResponseError

from cardsim import persona, store
from cardsim.issue import Issued
from cardsim.memory import (
    EF_FLAGS,
    EF_TOKEN_INFO,
    EF_USER_CERTIFICATE,
    JPKI_AID,
    Habits,
    Memory,
    ReferenceName,
    TransparentFile,
)
from tests.unit.cardsim.bench import Bench, insert, until
from tests.unit.cardsim.foreign import Host
from tests.unit.cardsim.making import (
    NOW,
    QUERY_SIGNING_PASSWORD,
    QUERY_USER_PIN,
    SELECT_JPKI,
    IssueCard,
    MakeCard,
    send,
)
from tests.unit.cardsim.test_ledger import lines

RESETTABLE = {"forgotten", "last-try", "locked", "other-person", "slow", "user-pin-locked"}
NOT_REGISTERED = {"child", "foreign", "old-juki-card", "smartphone-token", "unregistered"}
OTHERS = {"expired", "mute", "revoked-signing", "revoked-user", "wrong-keys"}


@pytest.fixture(scope="module")
def issued(issue_card: IssueCard) -> dict[str, Issued]:
    """A card of each persona."""
    return {name: issue_card(persona.load(name)) for name in persona.names()}


def content(memory: Memory, fid: int) -> bytes:
    """Return what a transparent file of the JPKI application holds."""
    (application,) = (each for each in memory.applications if each.aid == JPKI_AID)
    file = application.files[fid]
    assert isinstance(file, TransparentFile)
    return file.content


def test_these_are_all() -> None:
    assert set(persona.names()) == RESETTABLE | NOT_REGISTERED | OTHERS


def test_who_has_a_registry_entry(issued: dict[str, Issued]) -> None:
    assert {name for name, each in issued.items() if each.registry_entry is None} == NOT_REGISTERED


@pytest.mark.parametrize(
    ("name", "user_pin", "signing_password"),
    [
        ("locked", "63C3", "63C0"),
        ("forgotten", "63C3", "63C5"),
        ("last-try", "63C1", "63C0"),
        ("user-pin-locked", "63C0", "63C0"),
        ("child", "63C3", "63C5"),
        ("other-person", "63C3", "63C0"),
        ("foreign", "6A88", "6A88"),
        ("mute", "", ""),
    ],
)
def test_tries_left(make_card: MakeCard, name: str, user_pin: str, signing_password: str) -> None:
    card = make_card(name)
    assert send(card, SELECT_JPKI, QUERY_USER_PIN) == user_pin
    assert send(card, QUERY_SIGNING_PASSWORD) == signing_password


def test_what_the_token_is_called(issued: dict[str, Issued]) -> None:
    labels = {
        name: content(each.memory, EF_TOKEN_INFO)[:32].decode().strip()
        for name, each in issued.items()
        if name != "foreign"
    }
    assert labels.pop("smartphone-token") == "JPKIAPGPSETOKEN"
    assert labels.pop("old-juki-card") == "JPKIAPICCTOKEN"
    assert set(labels.values()) == {"JPKIAPICCTOKEN2"}


def test_only_the_child_has_no_signing_certificate(issued: dict[str, Issued]) -> None:
    flags = {name: content(each.memory, EF_FLAGS) for name, each in issued.items() if name != "foreign"}
    assert flags.pop("child") == bytes.fromhex("008F00")
    assert set(flags.values()) == {bytes.fromhex("8F8F00")}


def test_only_the_expired_certificate_is_out_of_date(issued: dict[str, Issued]) -> None:
    for name, each in issued.items():
        for certificate in (each.user_certificate, each.signing_certificate):
            valid = certificate.not_valid_before_utc <= NOW <= certificate.not_valid_after_utc
            assert valid is not (name == "expired" and certificate is each.user_certificate)
    on_card = content(issued["expired"].memory, EF_USER_CERTIFICATE)
    length = 4 + int.from_bytes(on_card[2:4], "big")
    assert x509.load_der_x509_certificate(on_card[:length]) == issued["expired"].user_certificate


def test_only_wrong_keys_are_not_those_of_the_registry(make_card: MakeCard) -> None:
    Host(make_card("locked")).open()
    with pytest.raises(BadResponseError, match="Wrong SCP03 key set"):
        Host(make_card("wrong-keys")).open()


def test_what_only_the_centre_can_know() -> None:
    revoked = {name: persona.load(name).revoked for name in persona.names()}
    assert (revoked.pop("revoked-user"), revoked.pop("revoked-signing")) == (("user",), ("signing",))
    assert not any(revoked.values())


def test_another_person_has_another_name(issued: dict[str, Issued]) -> None:
    holders = {name: persona.load(name).holder.name for name in ("locked", "forgotten", "other-person")}
    assert holders == {"locked": "番号　花子", "forgotten": "番号　花子", "other-person": "番号　太郎"}


def test_habits_are_kept(issued: dict[str, Issued], tmp_path: Path) -> None:
    for name, habits in (("slow", Habits(answer_seconds=0.1)), ("mute", Habits(mute=True)), ("locked", Habits())):
        path = tmp_path / f"{name}.json"
        store.save(issued[name].memory, path)
        assert store.load(path).habits == habits
    assert "habits" not in (tmp_path / "locked.json").read_text()


async def test_a_slow_card_takes_its_time_at_every_command(bench: Bench, make_card: MakeCard) -> None:
    bench.card.card = make_card("slow")
    reader = await insert(bench)
    assert await reader.ask(bytes.fromhex(SELECT_JPKI)) == bytes.fromhex("9000")
    assert await reader.ask(bytes.fromhex(QUERY_USER_PIN)) == bytes.fromhex("63C3")
    assert bench.slept == [0.1, 0.1]


async def test_a_mute_card_is_there_and_says_nothing(bench: Bench, make_card: MakeCard) -> None:
    bench.card.card = make_card("mute")
    reader = await insert(bench)
    reader.send(bytes.fromhex(SELECT_JPKI))
    await until(lambda: lines(bench.ledger_path)[-1]["event"] == "apdu")
    assert lines(bench.ledger_path)[-1]["status"] == ""
    assert await bench.slots.remove("kiosk") == "card"
    assert await reader.gone()


def test_the_expired_signing_certificate_of_a_persona_of_ones_own(issue_card: IssueCard, tmp_path: Path) -> None:
    text = (Path(persona.__file__).parent / "personas/expired.toml").read_text()
    path = tmp_path / "own.toml"
    path.write_text(text.replace('["user"]', '["user", "signing"]'))
    entry = issue_card(persona.load(str(path))).registry_entry
    assert entry is not None
    assert entry.signing_not_after < NOW.isoformat()


def test_the_pin_is_the_same_for_all(make_card: MakeCard) -> None:
    """The worst case for a PIN that goes to the wrong card: it would be right there."""
    for name in persona.names():
        references = {each.name: each.value for each in make_card(name).memory.references()}
        assert references.get(ReferenceName.USER_PIN, b"1357") == b"1357"
