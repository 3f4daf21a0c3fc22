"""The jobs on a My Number Card: each a plain procedure of several APDUs, run whole on the reader's thread.

Expected answers are values, the unexpected is CardProtocolError, and LinkError passes through, except in
`write_password`, whose verdict depends on the step at which the link failed. No job repeats a command: VERIFY, EXTERNAL
AUTHENTICATE and RESET RETRY COUNTER count on the card also when their answer is lost.

The JPKI AP has no public specification. Its facts here are those on which OpenSC (`card-jpki.c`, `pkcs15-jpki.c`),
jpki/myna and jpki-rs agree.
"""

from __future__ import annotations

import hashlib
import re

from gatewayd.card import scp03, status
from gatewayd.card.apdu import MAX_ANSWER_LENGTH, Command, Response
from gatewayd.card.der import sequence_length
from gatewayd.card.link import CardLink
from gatewayd.card.values import (
    CardFacts,
    ChannelKeys,
    ChannelOffered,
    DifferentCard,
    PinAccepted,
    PinLocked,
    PinWrong,
    Unfit,
    WriteAccepted,
    WriteNotSent,
    WriteRefused,
    WriteResult,
    WriteUnknown,
)
from gatewayd.errors import CardProtocolError, DeadlineExceeded, LinkEnded, LinkError
from gatewayd.secret import Secret

JPKI_AID = bytes.fromhex("D392F000260100000001")  # OpenSC jpki.h AID_JPKI; jpki/myna
TOKEN_LABEL = b"JPKIAPICCTOKEN2"  # jpki/myna; other labels: resident card of 2003, smartphone
TOKEN_LABEL_LENGTH = 32  # PKCS #11 2.40, CK_TOKEN_INFO.label, space padded
FLAGS_LENGTH = 3  # EF 0008: signing certificate, user certificate, one byte unexplained
CERTIFICATE_PRESENT = 0x8F  # EF 0008, measured on cards with both certificates
MAX_CERTIFICATE_LENGTH = 4096  # ours: the user certificate has about 1.6 KB
SIGNATURE_LENGTH = 256  # RSA-2048, JPKI certificate profile
USER_PIN_TRIES = 3  # OpenSC pkcs15-jpki.c; J-LIS
SIGNING_PASSWORD_TRIES = 5  # OpenSC pkcs15-jpki.c; J-LIS

SFI_TOKEN_INFORMATION = 0x06  # jpki/myna
SFI_FLAGS = 0x08  # measured
SFI_USER_CERTIFICATE = 0x0A  # OpenSC pkcs15-jpki.c
SFI_USER_KEY = 0x17  # OpenSC pkcs15-jpki.c
SFI_USER_PIN = 0x18  # OpenSC pkcs15-jpki.c
SFI_SIGNING_PASSWORD = 0x1B  # OpenSC pkcs15-jpki.c

_CLA = 0x00  # ISO/IEC 7816-4:2013, 5.1.1
_CLA_SECURE = 0x04  # secure messaging, proprietary format; GPC_SPE_034 11.1.4
_INS_VERIFY = 0x20  # ISO/IEC 7816-4:2013, 11.5.6
_INS_PERFORM_SECURITY_OPERATION = 0x2A  # ISO/IEC 7816-8
_INS_RESET_RETRY_COUNTER = 0x2C  # ISO/IEC 7816-4:2013, 11.5.10
_INS_SELECT = 0xA4  # ISO/IEC 7816-4:2013, 11.1.1
_INS_READ_BINARY = 0xB0  # ISO/IEC 7816-4:2013, 11.2.3
_P1_NONE = 0x00  # VERIFY: ISO/IEC 7816-4:2013, 11.5.6
_P1_BY_NAME = 0x04  # SELECT: by AID
_P2_NO_ANSWER = 0x0C  # SELECT: first occurrence, no file control information
_P1_SIGN_AS_GIVEN = 0x00  # this card: PKCS #1 v1.5, type 1 padding over the data as given; OpenSC card-jpki.c
_P1_NEW_DATA_ONLY = 0x02  # RESET RETRY COUNTER: new reference data, the right was proven before
_BY_SFI = 0x80  # P1 of READ BINARY: short identifier follows; P2 of the others: reference of this AP
_FILE_START = 0x00  # P2 of READ BINARY by short identifier: offset
_BYTE_BITS = 8
_BYTE_MASK = 0xFF
_MAX_READS = 2 * MAX_CERTIFICATE_LENGTH // MAX_ANSWER_LENGTH  # a card may answer short; twice the pieces is enough

_DIGEST_INFO_SHA256 = bytes.fromhex("3031300D060960864801650304020105000420")  # RFC 8017, 9.2, note 1
_USER_PIN_FORM = re.compile(rb"[0-9]{4}")  # J-LIS
_SIGNING_PASSWORD_FORM = re.compile(rb"[A-Z0-9]{6,16}")  # J-LIS; kept in upper case, without padding


def read_card(link: CardLink) -> CardFacts | Unfit:
    """Read what decides whether the card can be served, cheapest first: 12 APDUs for a certificate of 1.6 KB.

    Raises LinkError, and CardProtocolError for answers that no My Number Card gives.
    """
    if not _select(link):
        return Unfit.NOT_A_MY_NUMBER_CARD
    label = _read_file_head(link, SFI_TOKEN_INFORMATION, TOKEN_LABEL_LENGTH)
    if label is None or label.rstrip() != TOKEN_LABEL:
        return Unfit.NOT_A_MY_NUMBER_CARD
    flags = _read_file_head(link, SFI_FLAGS, FLAGS_LENGTH)
    if flags is None or len(flags) != FLAGS_LENGTH:
        raise CardProtocolError("the flags of the certificates cannot be read")
    if flags[0] != CERTIFICATE_PRESENT:
        return Unfit.NO_SIGNING_CERTIFICATE
    user_pin_tries = _query_tries(link, SFI_USER_PIN, USER_PIN_TRIES)
    if not user_pin_tries:
        return Unfit.USER_PIN_LOCKED
    signing_password_tries = _query_tries(link, SFI_SIGNING_PASSWORD, SIGNING_PASSWORD_TRIES)
    certificate = _read_certificate(link)
    if certificate is None:
        raise CardProtocolError("the user certificate cannot be read")
    return CardFacts(certificate, user_pin_tries, signing_password_tries)


def verify_and_sign(
    link: CardLink, *, certificate: bytes, pin: Secret, statement: bytes
) -> PinAccepted | PinWrong | PinLocked | DifferentCard:
    """Send one VERIFY of the user PIN to the card of this certificate and, when it is right, sign the statement.

    The PIN stays verified until the caller ends the connection, which resets the card. Raises ValueError for a PIN that
    is not four digits (nothing is sent), LinkError, and CardProtocolError.
    """
    _demand(pin, _USER_PIN_FORM, "a user PIN has four digits")
    if not _is_same_card(link, certificate):
        return DifferentCard()
    verified = _send(link, Command(_CLA, _INS_VERIFY, _P1_NONE, _BY_SFI | SFI_USER_PIN, pin.reveal()))
    if verified.status_word != status.OK:
        tries = _tries(verified, USER_PIN_TRIES - 1, "VERIFY")
        return PinWrong(tries) if tries else PinLocked()
    digest_info = _DIGEST_INFO_SHA256 + hashlib.sha256(statement).digest()
    p2 = _BY_SFI | SFI_USER_KEY
    sign = Command(_CLA, _INS_PERFORM_SECURITY_OPERATION, _P1_SIGN_AS_GIVEN, p2, digest_info, le=MAX_ANSWER_LENGTH)
    signed = _send(link, sign)
    if signed.status_word != status.OK or len(signed.data) != SIGNATURE_LENGTH:
        raise CardProtocolError(f"signing gave {len(signed.data)} bytes and {status.show(signed.status_word)}")
    return PinAccepted(signed.data)


def recount(link: CardLink, *, certificate: bytes) -> int | DifferentCard:
    """Return the tries left of the user PIN, 0-3, after a PIN job whose answer was lost; sends nothing that counts.

    Raises LinkError and CardProtocolError.
    """
    if not _is_same_card(link, certificate):
        return DifferentCard()
    return _query_tries(link, SFI_USER_PIN, USER_PIN_TRIES)


def offer_channel(
    link: CardLink, *, certificate: bytes, key_version: int, host_challenge: bytes
) -> ChannelOffered | DifferentCard:
    """Let the card of this certificate begin a secure channel, under the centre's 8-byte challenge.

    The channel lives as long as the connection, if no other command is sent. Raises ValueError for a challenge or key
    version out of range (nothing is sent), LinkError, and CardProtocolError, with the status word, for a refusal.
    """
    command = scp03.initialize_update(key_version, host_challenge)
    if not _is_same_card(link, certificate):
        return DifferentCard()
    offered = _send(link, command)
    if offered.status_word != status.OK:
        raise CardProtocolError(f"INITIALIZE UPDATE was answered {status.show(offered.status_word)}")
    scp03.check_offer(offered.data, key_version)
    return ChannelOffered(offered.data, host_challenge)


def write_password(link: CardLink, *, keys: ChannelKeys, password: Secret) -> WriteResult:
    """Open the offered channel and set the new signing password in it; then reset the card and read the counter.

    *Unknown* begins when transmit takes the RESET RETRY COUNTER. What fails before, a broken authorisation included, is
    WriteNotSent or an unsent WriteRefused; what fails after the card's answer does not change the verdict.
    Never raises LinkError or CardProtocolError. Raises ValueError for a password that is not 6-16 of A-Z and 0-9.
    """
    _demand(password, _SIGNING_PASSWORD_FORM, "a signing password has 6-16 upper-case letters and digits")
    try:
        wrapped = wrap_password(keys, password)
        opened = Response.parse(link.transmit(keys.external_authenticate))
    except (LinkError, ValueError):
        return WriteNotSent()
    if opened.status_word != status.OK:
        return WriteRefused(opened.status_word, sent=False)
    if opened.data:
        return WriteNotSent()  # not the answer of this protocol: what the card opened is not known
    try:
        answer = Response.parse(link.transmit(wrapped.command))
    except (DeadlineExceeded, LinkEnded):
        return WriteNotSent()  # the link refused to send it
    except LinkError:
        return WriteUnknown()
    if scp03.is_receipt(answer):
        return WriteAccepted(wrapped.chaining_value, answer.data, _count_after_write(link))
    if not answer.data and status.is_definite_refusal(answer.status_word):
        return WriteRefused(answer.status_word, sent=True)
    return WriteUnknown()


def wrap_password(keys: ChannelKeys, password: Secret) -> scp03.Wrapped:
    """Return the RESET RETRY COUNTER of the signing password for the channel that `keys` open.

    Pure, so it also checks an authorisation when it arrives: raises ValueError when its parts do not belong together.
    """
    p2 = _BY_SFI | SFI_SIGNING_PASSWORD
    command = Command(_CLA_SECURE, _INS_RESET_RETRY_COUNTER, _P1_NEW_DATA_ONLY, p2, le=MAX_ANSWER_LENGTH)
    return scp03.wrap(keys, command, password)


def _demand(secret: Secret, form: re.Pattern[bytes], rule: str) -> None:
    """Raise ValueError with the rule, never with the value: an empty VERIFY is a query, a short one costs a try."""
    if not form.fullmatch(secret.reveal()):
        raise ValueError(rule)


def _send(link: CardLink, command: Command) -> Response:
    return Response.parse(link.transmit(command.encode()))


def _select(link: CardLink) -> bool:
    """Select the JPKI AP; False when the card does not know it."""
    selected = _send(link, Command(_CLA, _INS_SELECT, _P1_BY_NAME, _P2_NO_ANSWER, JPKI_AID))
    if selected.status_word == status.OK:
        return True
    if status.is_checking_error(selected.status_word):
        return False
    raise CardProtocolError(f"SELECT was answered {status.show(selected.status_word)}")


def _is_same_card(link: CardLink, certificate: bytes) -> bool:
    """Compare the whole user certificate: never the ATR or the UID, which are no identity."""
    return _select(link) and _read_certificate(link) == certificate


def _read(link: CardLink, p1: int, p2: int, length: int) -> bytes | None:
    """Send one READ BINARY; None when the card refuses it. A short answer is not an error."""
    answer = _send(link, Command(_CLA, _INS_READ_BINARY, p1, p2, le=length))
    if answer.status_word in (status.OK, status.END_OF_FILE):
        return answer.data[:length]
    if status.is_checking_error(answer.status_word):
        return None
    raise CardProtocolError(f"READ BINARY was answered {status.show(answer.status_word)}")


def _read_file_head(link: CardLink, sfi: int, length: int) -> bytes | None:
    """Read from offset 0 by short identifier, which makes the file the current one."""
    return _read(link, _BY_SFI | sfi, _FILE_START, length)


def _read_certificate(link: CardLink) -> bytes | None:
    """Read the user certificate, as long as its own header says; None when the card refuses it."""
    content = _read_file_head(link, SFI_USER_CERTIFICATE, MAX_ANSWER_LENGTH)
    if content is None:
        return None
    total = sequence_length(content, limit=MAX_CERTIFICATE_LENGTH)
    for _ in range(_MAX_READS):
        if len(content) >= total:
            return content[:total]
        offset = len(content)
        want = min(total - offset, MAX_ANSWER_LENGTH)
        piece = _read(link, offset >> _BYTE_BITS, offset & _BYTE_MASK, want)
        if not piece:
            break
        content += piece
    raise CardProtocolError(f"the user certificate ends after {len(content)} of {total} bytes")


def _query_tries(link: CardLink, sfi: int, limit: int) -> int:
    """Ask for a counter by an empty VERIFY, four bytes without Le, which does not count."""
    return _tries(_send(link, Command(_CLA, _INS_VERIFY, _P1_NONE, _BY_SFI | sfi)), limit, "the counter query")


def _tries(answer: Response, limit: int, what: str) -> int:
    tries = status.tries_left(answer.status_word)
    if tries is None or tries > limit:
        raise CardProtocolError(f"{what} was answered {status.show(answer.status_word)}")
    return tries


def _count_after_write(link: CardLink) -> int | None:
    """Read the counter of the signing password under a fresh card; None when that fails, which changes no verdict."""
    try:
        link.reset()
        return _query_tries(link, SFI_SIGNING_PASSWORD, SIGNING_PASSWORD_TRIES) if _select(link) else None
    except (LinkError, CardProtocolError):
        return None
