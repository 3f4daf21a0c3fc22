"""The card's answers, as a table. Every row says where the behaviour is known from.

OpenSC is OpenSC/OpenSC's card-jpki.c and pkcs15-jpki.c, myna is jpki/myna, myna-card is soltia48/myna-card with its
measurements on cards, LULI is lulitech-dev/jpki-signer-android.
"""

from __future__ import annotations

import msgspec
import pytest
from _pytest.mark import ParameterSet
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cardsim import persona
from cardsim.card import ATR, Card
from tests.unit.cardsim.making import (
    QUERY_SIGNING_PASSWORD,
    QUERY_USER_PIN,
    SELECT_JPKI,
    SELECT_RESIDENT_REGISTER,
    SELECT_TEXT_INPUT,
    SIGNING_PASSWORD,
    USER_PIN,
    IssueCard,
    MakeCard,
    send,
    verify,
)

SHA256_PREFIX = bytes.fromhex("3031300D060960864801650304020105000420")  # RFC 8017, 9.2, note 1
SELECT_USER_CERTIFICATE = "00A4020C02000A"
PIN = verify("98", USER_PIN)
PASSWORD = verify("9B", SIGNING_PASSWORD)
THREE_WRONG = [verify("98", b"0000")] * 3

Row = tuple[str, str, list[str], str]
CARD_LEVEL: list[Row] = [
    # what, source, commands, last answer
    ("the root by file id", "myna-card", ["00A4000C023F00"], "6A82"),
    ("the root without data at card level", "myna-card", ["00A40000"], "6A86"),
    ("an application by its whole name", "OpenSC, myna", [SELECT_JPKI], "9000"),
    ("an application by the beginning of its name", "myna-card", ["00A4040C06D392F0002601"], "9000"),
    ("an unknown application", "ISO 7816-4", ["00A4040C05A000000308"], "6A82"),
    ("a name longer than the application's", "ISO 7816-4", ["00A4040C0BD392F00026010000000100"], "6A82"),
    ("the resident register's PIN", "myna-card", [SELECT_RESIDENT_REGISTER, "0020009C"], "63C3"),
    ("the text input PIN", "myna-card", [SELECT_TEXT_INPUT, "00200091"], "63C3"),
    ("a PIN is found in its own application only", "ISO 7816-4", [SELECT_TEXT_INPUT, QUERY_USER_PIN], "6A88"),
    ("a challenge at card level", "myna-card", ["0084000008"], "00000000000000019000"),
    ("a challenge of extended length", "myna-card", ["00840000000008"], "6985"),
    ("a challenge without Le", "ISO 7816-4", ["00840000"], "6700"),
    ("a logical channel", "myna-card", ["01A4040C0AD392F000260100000001"], "6881"),
    ("a further logical channel", "ISO 7816-4", ["40A4040C0AD392F000260100000001"], "6881"),
    ("secure messaging on SELECT", "myna-card", ["0CA4040C0AD392F000260100000001"], "6882"),
    ("a reader's own command", "PC/SC part 3", ["FFCA000000"], "6E00"),
]  # fmt: skip
IN_JPKI: list[Row] = [
    # the same, after the selection of the JPKI application
    ("the root without data in an application: no effect", "myna-card", ["00A40000"], "9000"),
    ("an unknown application leaves the current one", "myna-card", ["00A4040C05A000000308", "00200098"], "63C3"),
    ("other ways to select", "ISO 7816-4", ["00A4010C02000A"], "6A86"),
    ("an elementary file", "OpenSC, myna", [SELECT_USER_CERTIFICATE], "9000"),
    ("a protected elementary file is selected, too", "myna-card", ["00A4020C020001"], "9000"),
    ("an unknown elementary file", "ISO 7816-4", ["00A4020C02ABCD"], "6A82"),
    ("a file id of one byte", "ISO 7816-4", ["00A4020C010A"], "6700"),
    ("reading without a current file", "ISO 7816-4", ["00B0000004"], "6986"),
    ("four bytes, as OpenSC asks for the length", "OpenSC", ["00A4020C020008", "00B0000004"], "8F8F009000"),
    ("the flags, by short id", "myna-card", ["00B0880000"], "8F8F009000"),
    ("a file read by short id becomes the current one", "myna-card", ["00B0880000", "00B0000100"], "8F009000"),
    ("an offset with the short id", "myna-card", ["00B0880201"], "009000"),
    ("an unknown short id", "ISO 7816-4", ["00B0930000"], "6A82"),
    ("bits of P1 that mean nothing", "ISO 7816-4", ["00B0C80000"], "6A86"),
    ("reading at the end", "PYJPKI reads until this", ["00B0880300"], "6B00"),
    ("reading past the end", "ISO 7816-4", ["00B0880000", "00B07FFF00"], "6B00"),
    ("reading without Le", "ISO 7816-4", ["00B08800"], "6700"),
    ("reading with data", "ISO 7816-4", ["00B0880001AA00"], "6700"),
    ("reading a PIN", "ISO 7816-4", ["00A4020C020018", "00B0000000"], "6981"),
    ("reading a key", "ISO 7816-4", ["00B0970000"], "6981"),
    ("the signing certificate without the password", "OpenSC, myna-card", ["00B0810004"], "6982"),
    ("the signing certificate with the user PIN", "OpenSC", [PIN, "00B0810004"], "6982"),
    ("counter of the user PIN", "OpenSC, LULI", ["00A4020C020018", "00200080"], "63C3"),
    ("counter of the user PIN by short id", "myna-card", [QUERY_USER_PIN], "63C3"),
    ("counter of the signing password", "OpenSC, LULI", ["00A4020C02001B", "00200080"], "63C5"),
    ("a counter query with Le", "LULI", ["0020009800"], "6700"),
    ("a counter query while verified", "OpenSC #959", [PIN, QUERY_USER_PIN], "63C3"),
    ("a counter query without a current file", "ISO 7816-4", ["00200080"], "6986"),
    ("a counter query of an unknown reference", "ISO 7816-4", ["00200093"], "6A88"),
    ("a counter query of a certificate", "ISO 7816-4", ["0020008A"], "6981"),
    ("a reference outside the application", "ISO 7816-4", ["00200018"], "6A86"),
    ("VERIFY with P1", "ISO 7816-4", ["00200198"], "6A86"),
    ("a right user PIN", "OpenSC, myna", [PIN], "9000"),
    ("a right signing password", "OpenSC, myna", [PASSWORD], "9000"),
    ("a password in lower case is wrong", "myna, LULI", [verify("9B", b"oldpass1")], "63C4"),
    ("a wrong PIN", "OpenSC, myna", [verify("98", b"0000")], "63C2"),
    ("a PIN of another length is a wrong one", "inferred", [verify("98", b"13570")], "63C2"),
    ("the last try", "myna-card", [*THREE_WRONG], "63C0"),
    ("the right PIN on a blocked reference", "myna-card", [*THREE_WRONG, PIN], "6984"),
    ("counter of a blocked reference", "OpenSC", [*THREE_WRONG, QUERY_USER_PIN], "63C0"),
    ("a right PIN fills the counter", "LULI", [verify("98", b"0"), PIN, QUERY_USER_PIN], "63C3"),
    ("a right PIN fills its own counter only", "LULI", [verify("9B", b"0"), PIN, QUERY_SIGNING_PASSWORD], "63C4"),
    ("a new PIN without the old one", "myna", ["0024019804" + b"2222".hex()], "6982"),
    ("a new PIN", "myna", [PIN, "0024019804" + b"2222".hex(), verify("98", b"2222")], "9000"),
    ("a new PIN of five digits", "inferred", [PIN, "0024019805" + b"22222".hex()], "6A80"),
    ("a new password in lower case", "myna-card", [PASSWORD, "0024019B06" + b"abc123".hex()], "6A80"),
    ("old and new value together", "inferred", [PIN, "0024009808" + b"13572222".hex()], "6A86"),
    ("a signature without the PIN", "OpenSC", ["00A4020C020017", "802A00800400112233" + "00"], "6982"),
    ("a signature with the other PIN", "OpenSC", [PIN, "802A009A0400112233" + "00"], "6982"),
    ("a signature by a PIN", "ISO 7816-4", [PIN, "802A00980400112233" + "00"], "6981"),
    ("other forms of signature input", "myna-card", [PIN, "802A06970400112233" + "00"], "6A86"),
    ("a signature over too much", "RFC 8017", [PIN, "802A0097F6" + "11" * 246 + "00"], "6700"),
    ("a signature over nothing", "myna-card", [PIN, "802A009700"], "6700"),
    ("made-up data for the institution's key", "myna-card", ["80A200960401020304"], "6700"),
    ("the same of extended length", "myna-card", ["80A20096000133" + "11" * 307], "6700"),
    ("an institution's key that is a PIN", "ISO 7816-4", ["80A200980401020304"], "6981"),
    ("reading the institution's key", "ISO 7816-4", ["00A4020C020016", "00B0000004"], "6981"),
    ("a PIN of extended length", "inferred", ["00200098000004" + b"1357".hex(), QUERY_USER_PIN], "63C3"),
    ("a part of a file of extended length", "JSAPDU", ["00B08800000002"], "8F8F9000"),
    ("all of a small file of extended length", "JSAPDU", ["00B08800000000"], "8F8F009000"),
    ("an extended Le on a counter query", "LULI", ["00200098000000"], "6700"),
    ("a challenge in an application", "myna-card", ["0084000008"], "00000000000000019000"),
    ("a proprietary class on a channel", "ISO 7816-4", ["8250310008" + "00" * 8], "6881"),
    ("chaining", "ISO 7816-4", ["1020009804" + b"1357".hex()], "6884"),
    ("secure messaging on READ BINARY", "myna-card", ["08B0880000"], "69FC"),
    ("secure messaging on VERIFY", "myna-card", ["0C200098"], "69FC"),
    ("a reserved class", "ISO 7816-4", ["20B0880000"], "6E00"),
    ("an instruction of another class", "ISO 7816-4", ["80B0880000"], "6E00"),
    ("an unknown instruction", "ISO 7816-4", ["00CA006600"], "6D00"),
    ("a torn command", "ISO 7816-4", ["0020009804"], "6700"),
]  # fmt: skip


def rows(table: list[Row]) -> list[ParameterSet]:
    """Return a table as pytest wants it, each row under the name of what it shows."""
    return [pytest.param(commands, answer, id=what) for what, _source, commands, answer in table]


@pytest.mark.parametrize(("commands", "answer"), rows(CARD_LEVEL))
def test_answers_at_card_level(card: Card, commands: list[str], answer: str) -> None:
    assert send(card, *commands) == answer


@pytest.mark.parametrize(("commands", "answer"), rows(IN_JPKI))
def test_answers_of_the_jpki_application(card: Card, commands: list[str], answer: str) -> None:
    assert send(card, SELECT_JPKI, *commands) == answer


def test_every_row_has_its_source() -> None:
    assert all(source for _what, source, *_ in CARD_LEVEL + IN_JPKI)


def test_a_card_without_power_is_mute(card: Card) -> None:
    card.power_off()
    assert card.transmit(bytes.fromhex(SELECT_JPKI)) == b""
    assert card.power_on() == ATR
    assert send(card, SELECT_JPKI) == "9000"


def test_the_check_byte_of_the_atr_is_right() -> None:
    """ISO/IEC 7816-3:2006, 8.2.5: all bytes after the first, with the last one, add up to zero bit by bit."""
    total = 0
    for byte in ATR[1:]:
        total ^= byte
    assert total == 0


def read_file(card: Card, fid: str) -> bytes:
    """Read an elementary file in whole blocks until its end."""
    content = b""
    assert send(card, f"00A4020C02{fid}") == "9000"
    while (answer := card.transmit(bytes.fromhex(f"00B0{len(content):04X}00"))) != bytes.fromhex("6B00"):
        assert answer[-2:] == bytes.fromhex("9000")
        content += answer[:-2]
    return content


def test_the_token_information_is_160_bytes(card: Card) -> None:
    send(card, SELECT_JPKI)
    content = read_file(card, "0006")
    assert len(content) == 160
    assert content.startswith(b"JPKIAPICCTOKEN2 ")
    assert content[96:120] == bytes.fromhex("0000040D 00000001 00000000 00000001 00000000 00000010")
    assert content[140:] == b"0301" + b"9" * 16


@pytest.mark.parametrize("fid", ["0002", "000A", "000B"])
def test_certificate_files_are_bigger_than_the_certificate(card: Card, fid: str) -> None:
    """READER reads whole blocks of 256 bytes past the certificate's end."""
    send(card, SELECT_JPKI)
    content = read_file(card, fid)
    length = 4 + int.from_bytes(content[2:4], "big")
    assert content[:2] == bytes.fromhex("3082")
    assert len(content) % 256 == 0
    assert set(content[length:]) == {0xFF}
    assert x509.load_der_x509_certificate(content[:length]).version is x509.Version.v3


def test_a_whole_file_is_read_with_extended_length(card: Card) -> None:
    send(card, SELECT_JPKI)
    assert card.transmit(bytes.fromhex("00B08A00000000"))[:-2] == read_file(card, "000A")


@pytest.mark.parametrize(
    ("password", "certificate_fid", "sign"),
    [
        (PIN, "000A", "802A0097"),
        (PIN, "000A", "002A0097"),
        (PASSWORD, "0001", "802A009A"),
    ],
)
def test_signatures_verify_with_the_certificate(card: Card, password: str, certificate_fid: str, sign: str) -> None:
    send(card, SELECT_JPKI, password)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"message")
    info = SHA256_PREFIX + digest.finalize()
    signature = card.transmit(bytes.fromhex(f"{sign}{len(info):02X}{info.hex()}00"))
    content = read_file(card, certificate_fid)
    key = x509.load_der_x509_certificate(content[: 4 + int.from_bytes(content[2:4], "big")]).public_key()
    assert isinstance(key, RSAPublicKey)
    assert len(signature) == 256 + 2
    key.verify(signature[:-2], b"message", PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("drop", ["reset", "power", SELECT_JPKI, SELECT_TEXT_INPUT])
def test_security_state_is_dropped(card: Card, drop: str) -> None:
    """By reset, by power loss, and by the selection of an application: of the same one, too, as OpenSC logs out."""
    send(card, SELECT_JPKI, PIN, PASSWORD, "0084000008")
    before = card.snapshot()
    if drop == "reset":
        card.reset()
    elif drop == "power":
        card.power_off()
        card.power_on()
    else:
        send(card, drop)
    assert before["verified"] == ["signing_password", "user_pin"]
    assert card.snapshot()["verified"] == []
    assert card.snapshot()["tries"] == before["tries"]
    assert send(card, SELECT_JPKI, "802A00970400112233" + "00") == "6982"


@pytest.mark.parametrize("keep", [SELECT_USER_CERTIFICATE, "00A4040C05A000000308", "00A40000", "0084000008"])
def test_security_state_is_kept_by_anything_else(card: Card, keep: str) -> None:
    send(card, SELECT_JPKI, PIN, keep)
    assert card.snapshot()["verified"] == ["user_pin"]


def test_a_wrong_value_ends_the_verified_state(card: Card) -> None:
    send(card, SELECT_JPKI, PIN)
    assert send(card, verify("98", b"0000")) == "63C2"
    assert send(card, "802A00970400112233" + "00") == "6982"


def test_counters_survive_power_loss(card: Card) -> None:
    send(card, SELECT_JPKI, verify("98", b"0000"), verify("9B", b"0000"))
    card.power_off()
    card.power_on()
    assert send(card, SELECT_JPKI, QUERY_USER_PIN) == "63C2"
    assert send(card, QUERY_SIGNING_PASSWORD) == "63C4"


@pytest.mark.parametrize(
    ("name", "user_pin", "signing_password"),
    [("locked", "63C3", "63C0"), ("forgotten", "63C3", "63C5"), ("user-pin-locked", "63C0", "63C0")],
)
def test_personas(make_card: MakeCard, name: str, user_pin: str, signing_password: str) -> None:
    card = make_card(name)
    assert send(card, SELECT_JPKI, QUERY_USER_PIN) == user_pin
    assert send(card, QUERY_SIGNING_PASSWORD) == signing_password
    assert send(card, SELECT_TEXT_INPUT, verify("91", b"8642")) == "9000"
    assert send(card, SELECT_RESIDENT_REGISTER, verify("9C", b"2468")) == "9000"


def test_a_card_without_a_signing_certificate_says_so(issue_card: IssueCard) -> None:
    """EF 0008: the card of a child under 15 lacks the first flag."""
    child = msgspec.structs.replace(persona.load("forgotten"), signing_certificate=False)
    issued = issue_card(child)
    card = Card(issued.memory, bytes)
    card.power_on()
    assert issued.registry_entry is None
    assert send(card, SELECT_JPKI, "00B0880000") == "008F009000"
    assert send(card, PASSWORD, "00B0810004") == "FFFFFFFF9000"
