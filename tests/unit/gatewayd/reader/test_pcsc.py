"""Return codes by call sites: which error each becomes, and that nothing beside an error code is looked at."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from smartcard import scard as real

from gatewayd.errors import CardAbsent, LinkError, ReaderHeld, ReaderMissing, ServiceLost, TransmitFailed
from gatewayd.reader import pcsc
from tests.unit.gatewayd.reader.fake_scard import READER, FakeScard

LOST = [
    real.SCARD_E_NO_SERVICE,
    real.SCARD_E_SERVICE_STOPPED,
    real.SCARD_F_COMM_ERROR,
    real.SCARD_E_INVALID_HANDLE,
]
MISSING = [real.SCARD_E_UNKNOWN_READER, real.SCARD_E_READER_UNAVAILABLE]
ABSENT = [real.SCARD_E_NO_SMARTCARD, real.SCARD_W_REMOVED_CARD]
MUTE = [
    real.SCARD_W_UNRESPONSIVE_CARD,
    real.SCARD_W_UNPOWERED_CARD,
    real.SCARD_W_RESET_CARD,
    real.SCARD_E_NOT_TRANSACTED,
    real.SCARD_E_PROTO_MISMATCH,
    real.SCARD_W_UNSUPPORTED_CARD,
]
UNKNOWN = [real.SCARD_W_SECURITY_VIOLATION, 0x80100001, 0x8010FFFF]
ALL = [*LOST, *MISSING, real.SCARD_E_SHARING_VIOLATION, *ABSENT, *MUTE, *UNKNOWN]

MEANING: dict[int, type[LinkError]] = {
    **dict.fromkeys(LOST + UNKNOWN, ServiceLost),
    **dict.fromkeys(MISSING, ReaderMissing),
    **dict.fromkeys(ABSENT, CardAbsent),
    **dict.fromkeys(MUTE, TransmitFailed),
    real.SCARD_E_SHARING_VIOLATION: ReaderHeld,
}

CALLS: dict[str, Callable[[pcsc.Context, pcsc.Card], object]] = {
    "SCardListReaders": lambda context, _: context.readers(),
    "SCardGetStatusChange": lambda context, _: context.slot(READER),
    "SCardConnect": lambda context, _: context.connect(READER),
    "SCardReconnect": lambda _, card: card.reset(),
    "SCardDisconnect": lambda _, card: card.disconnect(leave=False),
}
EVERY_CALL: dict[str, Callable[[pcsc.Context, pcsc.Card], object]] = {
    **CALLS,
    "SCardTransmit": lambda _, card: card.transmit(b""),
}


@pytest.fixture
def context(scard: FakeScard) -> pcsc.Context:
    return pcsc.establish()


@pytest.fixture
def card(context: pcsc.Context) -> pcsc.Card:
    return context.connect(READER)


@pytest.mark.parametrize("function", CALLS)
@pytest.mark.parametrize("code", ALL)
def test_code_at_a_call(scard: FakeScard, context: pcsc.Context, card: pcsc.Card, function: str, code: int) -> None:
    scard.fail(function, code)
    with pytest.raises(MEANING[code], match=f"{code:08X}"):
        CALLS[function](context, card)


@pytest.mark.parametrize("code", ALL)
def test_failed_transmit_is_lost_or_failed_and_never_looked_at(scard: FakeScard, card: pcsc.Card, code: int) -> None:
    scard.fail("SCardTransmit", code)
    with pytest.raises(ServiceLost if code in LOST else TransmitFailed, match=f"{code:08X}"):
        card.transmit(b"\x00")


@pytest.mark.parametrize("code", ALL)
def test_pcscd_that_does_not_take_us_is_no_pcscd(scard: FakeScard, code: int) -> None:
    scard.fail("SCardEstablishContext", code)
    with pytest.raises(ServiceLost, match=f"{code:08X}"):
        pcsc.establish()


@pytest.mark.parametrize("function", EVERY_CALL)
def test_bare_system_error_means_a_void_handle(
    scard: FakeScard, context: pcsc.Context, card: pcsc.Card, function: str
) -> None:
    scard.fail(function, SystemError("returned NULL without setting an exception"))
    with pytest.raises(ServiceLost) as caught:
        EVERY_CALL[function](context, card)
    assert isinstance(caught.value.__cause__, SystemError)


@pytest.mark.parametrize("code", [real.SCARD_E_NO_SERVICE, SystemError(), real.SCARD_E_INVALID_HANDLE])
def test_release_never_raises(scard: FakeScard, context: pcsc.Context, code: int | Exception) -> None:
    scard.fail("SCardReleaseContext", code)
    context.release()


def test_no_readers_is_a_normal_answer(scard: FakeScard, context: pcsc.Context) -> None:
    scard.readers = []
    assert context.readers() == []


def test_wait_without_news_returns_what_was_known(scard: FakeScard, context: pcsc.Context) -> None:
    known = pcsc.SlotState(0x30020)
    scard.fail("SCardGetStatusChange", real.SCARD_E_TIMEOUT)
    assert context.wait(READER, known, 1) is known


def test_state_goes_back_whole_and_its_parts_are_read(scard: FakeScard, context: pcsc.Context) -> None:
    scard.state = 3 << 16 | real.SCARD_STATE_PRESENT | real.SCARD_STATE_EXCLUSIVE
    state = context.slot(READER)
    assert (state.card_present, state.counter) == (True, 3)
    scard.fail("SCardGetStatusChange", real.SCARD_E_TIMEOUT)
    context.wait(READER, state, 0.5)
    _, milliseconds, states = scard.arguments("SCardGetStatusChange")[-1]
    assert (milliseconds, states[0]) == (500, (READER, scard.state))
    assert states[1][0] == pcsc.PNP_READER


@pytest.mark.parametrize("flag", [real.SCARD_STATE_UNKNOWN, real.SCARD_STATE_UNAVAILABLE])
def test_reader_that_left_during_a_wait(scard: FakeScard, context: pcsc.Context, flag: int) -> None:
    scard.state = flag
    with pytest.raises(ReaderMissing):
        context.slot(READER)


def test_connection_is_exclusive_in_one_step_with_the_protocol_that_came(scard: FakeScard) -> None:
    for protocol, pci in ((real.SCARD_PROTOCOL_T0, real.SCARD_PCI_T0), (real.SCARD_PROTOCOL_T1, real.SCARD_PCI_T1)):
        scard.protocol = protocol
        card = pcsc.establish().connect(READER)
        assert card.transmit(b"\x00\xa4") == b"\x90\x00"
        assert scard.arguments("SCardTransmit")[-1] == (7, pci, [0x00, 0xA4])
    both = real.SCARD_PROTOCOL_T0 | real.SCARD_PROTOCOL_T1
    assert {arguments[2:] for arguments in scard.arguments("SCardConnect")} == {(real.SCARD_SHARE_EXCLUSIVE, both)}


def test_second_look_resets_whatever_is_there_without_needing_a_card(scard: FakeScard, context: pcsc.Context) -> None:
    context.look_again(READER)
    ((_, reader, share, _),) = scard.arguments("SCardConnect")
    assert (reader, share) == (READER, real.SCARD_SHARE_DIRECT)
    assert scard.arguments("SCardDisconnect") == [(7, real.SCARD_RESET_CARD)]


def test_reset_keeps_the_connection_exclusive(scard: FakeScard, card: pcsc.Card) -> None:
    scard.protocol = real.SCARD_PROTOCOL_T0
    card.reset()
    assert scard.arguments("SCardReconnect")[0][1] == real.SCARD_SHARE_EXCLUSIVE
    assert scard.arguments("SCardReconnect")[0][3] == real.SCARD_RESET_CARD
    card.transmit(b"")
    assert scard.arguments("SCardTransmit")[-1][1] == real.SCARD_PCI_T0


@pytest.mark.parametrize(("leave", "disposition"), [(False, real.SCARD_RESET_CARD), (True, real.SCARD_LEAVE_CARD)])
def test_disposition_is_always_said(scard: FakeScard, card: pcsc.Card, leave: bool, disposition: int) -> None:
    card.disconnect(leave=leave)
    assert scard.arguments("SCardDisconnect") == [(7, disposition)]


def test_library_is_told_not_to_block(scard: FakeScard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PCSCLITE_NO_BLOCKING", raising=False)
    pcsc.establish()
    assert os.environ["PCSCLITE_NO_BLOCKING"]


@pytest.mark.parametrize(
    ("names", "configured", "chosen"),
    [
        (["Kiosk 00 00", "Kiosk 00 01"], "Kiosk 00 01", "Kiosk 00 01"),
        (["Kiosk 00 00", "Phone 00 00"], "Kiosk", "Kiosk 00 00"),
        (["ACS ACR1252 (serial 1) [ICC] 0A FF"], "ACS ACR1252 (serial 1) [ICC]", "ACS ACR1252 (serial 1) [ICC] 0A FF"),
        (["Reader"], "Reader", "Reader"),
    ],
)
def test_configured_name_means_one_reader(names: list[str], configured: str, chosen: str) -> None:
    assert pcsc.choose_reader(names, configured) == chosen


@pytest.mark.parametrize(
    ("names", "configured", "message"),
    [
        ([], "Kiosk", "0 of 0"),
        (["Phone 00 00"], "Kiosk", "0 of 1"),
        (["Kiosk 00 00", "Kiosk 00 01"], "Kiosk", "2 of 2"),
        (["Kiosk 00 00"], "Kiosk 00 01", "0 of 1"),
        (["Kiosk 00 00"], "Kio", "0 of 1"),
        (["Kiosk 0 0"], "Kiosk", "0 of 1"),
        (["Kiosk 00 00"], "", "0 of 1"),
    ],
)
def test_none_or_several_readers_are_an_error(names: list[str], configured: str, message: str) -> None:
    with pytest.raises(ReaderMissing, match=message):
        pcsc.choose_reader(names, configured)


def test_list_of_readers_is_never_asked_for_while_a_context_is_established(scard: FakeScard) -> None:
    """Together, with a pcscd that hangs, they would take the interpreter's lock for ever."""
    context = pcsc.establish()
    inside, go_on = threading.Event(), threading.Event()

    def hang() -> bool:
        inside.set()
        return go_on.wait(10)

    scard.before["SCardEstablishContext"] = hang
    establishing = threading.Thread(target=pcsc.establish)
    establishing.start()
    assert inside.wait(10)
    listing = threading.Thread(target=context.readers)
    listing.start()
    listing.join(0.1)
    assert listing.is_alive()
    assert not scard.count("SCardListReaders")
    go_on.set()
    for thread in (establishing, listing):
        thread.join(10)
    assert scard.count("SCardListReaders") == 1
