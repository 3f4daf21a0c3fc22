"""The link to the virtual reader and the slots, against a reader made of a TCP listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cardsim import store
from cardsim.card import ATR
from cardsim.slot import SlotError, Slots
from cardsim.vpcd import HOST, VpcdLink
from tests.unit.cardsim.bench import GET_ATR, POWER_OFF, POWER_ON, RESET, SECONDS, Bench, insert
from tests.unit.cardsim.foreign import Host
from tests.unit.cardsim.making import SELECT_JPKI, MakeCard, verify
from tests.unit.cardsim.test_ledger import lines


class NoDevice:
    """Nobody asks it anything."""

    def power_on(self) -> None: ...

    def power_off(self) -> None: ...

    def reset(self) -> None: ...

    def atr(self) -> bytes:
        return ATR

    async def transmit(self, apdu: bytes) -> bytes:
        return apdu


async def test_control_codes(bench: Bench) -> None:
    reader = await insert(bench)
    assert await reader.ask(GET_ATR) == ATR
    assert await reader.ask(bytes.fromhex(SELECT_JPKI)) == bytes.fromhex("9000")
    reader.send(RESET)
    assert await reader.ask(bytes.fromhex("00200098")) == bytes.fromhex("6A88")
    reader.send(POWER_OFF)
    assert await reader.ask(GET_ATR) == ATR
    assert bench.events() == ["insert kiosk", "power_on kiosk", "reset kiosk", "power_off kiosk"]


async def test_messages_that_arrive_in_pieces_or_together(bench: Bench) -> None:
    reader = await insert(bench)
    select = bytes.fromhex(SELECT_JPKI)
    reader.send(RESET)
    reader.send(RESET)
    assert await reader.ask(select) == bytes.fromhex("9000")
    for byte in len(select).to_bytes(2, "big") + select[:-1]:
        reader._writer.write(bytes([byte]))
        await reader._writer.drain()
    reader._writer.write(select[-1:])
    assert await asyncio.wait_for(reader._reader.readexactly(4), SECONDS) == bytes.fromhex("00029000")


async def test_a_link_that_reaches_itself_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody listens, sooner or later the kernel gives a try the very port that it tries."""

    class Own(socket.socket):
        """Begins at the port it is about to connect to."""

        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            self.bind((HOST, port))

    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    link = VpcdLink(port, NoDevice())
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Own)
        with pytest.raises(ConnectionRefusedError):
            await link.queue()
    with socket.socket() as reader:
        reader.bind((HOST, port))  # nothing keeps the port from it


async def test_delayed_acknowledgements_are_off_before_every_receive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    loop = asyncio.get_running_loop()
    receive = loop.sock_recv

    class Watched(socket.socket):
        def setsockopt(self, *arguments: int) -> None:  # type: ignore[override]
            if arguments[1] == socket.TCP_QUICKACK:
                steps.append("arm")
            super().setsockopt(*arguments)

    async def watched_receive(link: socket.socket, size: int) -> bytes:
        steps.append("receive")
        return await receive(link, size)

    monkeypatch.setattr("cardsim.vpcd.socket.socket", Watched)
    monkeypatch.setattr(loop, "sock_recv", watched_receive)
    reader = await insert(bench)
    for _ in range(3):
        await reader.ask(bytes.fromhex(SELECT_JPKI))
    assert len(steps) >= 8
    assert steps == ["arm", "receive"] * (len(steps) // 2)


async def test_a_reader_that_comes_back_finds_the_card_without_power(bench: Bench) -> None:
    reader = await insert(bench)
    await reader.ask(bytes.fromhex(SELECT_JPKI))
    await reader.pull()
    await reader.card()
    assert bench.card.card.powered is False
    reader.send(POWER_ON)
    assert await reader.ask(bytes.fromhex("00200098")) == bytes.fromhex("6A88")
    assert bench.events()[:4] == ["insert kiosk", "power_on kiosk", "power_off kiosk", "remove kiosk"]


async def test_a_reader_that_is_not_there_yet(make_card: MakeCard, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    bench = Bench(make_card, tmp_path)
    async with asyncio.TaskGroup() as tasks:
        slots = Slots({"kiosk": port}, {"card": bench.card}, bench.ledger, tasks)
        insertion = asyncio.create_task(slots.insert("card", "kiosk"))
        await asyncio.sleep(0)
        async with bench.kiosk.listening(port) as reader:
            assert await insertion
            await reader.card()
            await slots.empty()
            assert await reader.gone()
    bench.ledger.close()


async def test_a_memory_that_cannot_be_kept_ends_the_simulator(make_card: MakeCard, tmp_path: Path) -> None:
    """Better no card than one that forgets a spent try."""
    bench = Bench(make_card, tmp_path)

    async def spend_a_try() -> None:
        async with bench.serving():
            reader = await insert(bench)
            await reader.ask(bytes.fromhex(SELECT_JPKI))
            bench.card.path = tmp_path / "gone/card.json"
            reader.send(bytes.fromhex(verify("98", b"0000")))
            await asyncio.sleep(SECONDS)

    with pytest.raises(ExceptionGroup) as failure:
        await spend_a_try()
    assert failure.group_contains(FileNotFoundError)


async def test_a_card_is_carried_from_the_phone_to_the_kiosk(bench: Bench) -> None:
    phone = await insert(bench, "phone")
    await phone.ask(bytes.fromhex(SELECT_JPKI))
    await phone.ask(bytes.fromhex(verify("98", b"0000")))
    assert await bench.slots.move("phone", "kiosk")
    assert await phone.gone()
    await bench.kiosk.card()
    bench.kiosk.send(POWER_ON)
    await bench.kiosk.ask(bytes.fromhex(SELECT_JPKI))
    assert await bench.kiosk.ask(bytes.fromhex("00200098")) == bytes.fromhex("63C2")


async def test_what_a_card_keeps_is_on_disk_before_the_answer_leaves(bench: Bench) -> None:
    reader = await insert(bench)
    await reader.ask(bytes.fromhex(SELECT_JPKI))
    unchanged = bench.path.stat().st_ino
    await reader.ask(bytes.fromhex("00200098"))
    assert bench.path.stat().st_ino == unchanged, "nothing is written when nothing changed"
    await reader.ask(bytes.fromhex(verify("98", b"0000")))
    assert store.load(bench.path).mutable_state() == bench.card.card.memory.mutable_state()
    assert bench.path.stat().st_ino != unchanged


async def test_the_ledger_has_the_state_before_and_after(bench: Bench) -> None:
    reader = await insert(bench)
    await reader.ask(bytes.fromhex(SELECT_JPKI))
    await reader.ask(bytes.fromhex(verify("98", b"0000")))
    entry = lines(bench.ledger_path)[-1]
    assert entry["command"] == "VERIFY"
    assert entry["before"]["tries"]["user_pin"] == 3
    assert entry["after"]["tries"]["user_pin"] == 2
    assert entry["after"]["application"] == "JPKI"
    assert "30303030" not in bench.ledger_path.read_text()


async def test_a_card_that_delays_on_purpose_is_waited_for(bench: Bench) -> None:
    bench.card.card.memory.channel.failures = 10
    reader = await insert(bench)
    await reader.ask(bytes.fromhex(SELECT_JPKI))
    await reader.ask(bytes.fromhex("8050310008" + "00" * 8))
    assert bench.slept == [0.25]


async def test_show_has_values_and_counters(bench: Bench) -> None:
    await insert(bench)
    Host(bench.card.card).open()
    (shown,) = bench.slots.show("card")
    assert shown["slot"] == "kiosk"
    assert shown["connected"] is True
    assert shown["references"] == {
        "signing_password": {"value": "OLDPASS1", "tries": 5, "limit": 5},
        "user_pin": {"value": "1357", "tries": 3, "limit": 3},
        "juki_pin": {"value": "2468", "tries": 3, "limit": 3},
        "text_input_pin": {"value": "8642", "tries": 3, "limit": 3},
    }
    state = shown["state"]
    assert isinstance(state, dict)
    assert state["channel"] == "open"
    await bench.slots.remove("kiosk")
    assert bench.slots.show()[0]["slot"] is None


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (lambda slots: slots.insert("third", "kiosk"), "no card third; there are: card, other"),
        (lambda slots: slots.insert("card", "desk"), "no slot desk; there are: kiosk, phone"),
        (lambda slots: slots.insert("card", "kiosk"), "slot kiosk holds card"),
        (lambda slots: slots.insert("card", "phone"), "card is in slot kiosk"),
        (lambda slots: slots.remove("phone"), "slot phone is empty"),
        (lambda slots: slots.move("kiosk", "kiosk"), "slot kiosk holds card"),
        (lambda slots: slots.move("phone", "kiosk"), "slot kiosk holds card"),
    ],
)
async def test_what_cannot_be_done(bench: Bench, act: Callable[[Slots], Awaitable[object]], complaint: str) -> None:
    await insert(bench)
    with pytest.raises(SlotError, match=complaint):
        await act(bench.slots)
    assert bench.slots.show()[0]["slot"] == "kiosk"
