"""What the card's jobs return. Expected answers are values; only the unexpected is an exception.

No text shows what would tell of the citizen or of the password: certificate, signature and receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from gatewayd.secret import Secret


class Unfit(Enum):
    """Why a card cannot be served."""

    NOT_A_MY_NUMBER_CARD = "not_a_my_number_card"
    NO_SIGNING_CERTIFICATE = "no_signing_certificate"
    USER_PIN_LOCKED = "user_pin_locked"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What READING_CARD learnt. The user certificate is the card's identity from here on."""

    user_certificate: bytes = field(repr=False)  # DER
    user_pin_tries: int  # EF 0018, 0-3
    signing_password_tries: int  # EF 001B, 0-5


@dataclass(frozen=True, slots=True)
class DifferentCard:
    """The card's user certificate is not the one expected; nothing counted was sent."""


@dataclass(frozen=True, slots=True)
class PinAccepted:
    """VERIFY said 9000, and the statement is signed."""

    signature: bytes = field(repr=False)  # RSA-2048, 256 bytes


@dataclass(frozen=True, slots=True)
class PinWrong:
    """VERIFY said 63Cx."""

    tries_left: int  # 1-2


@dataclass(frozen=True, slots=True)
class PinLocked:
    """VERIFY said 63C0, 6983 or 6984."""


@dataclass(frozen=True, slots=True)
class ChannelOffered:
    """The card's answer to INITIALIZE UPDATE, without status word."""

    answer: bytes  # 29 bytes
    host_challenge: bytes  # 8 bytes


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """What the kiosk gets to use one authorised channel; never S-RMAC."""

    external_authenticate: bytes  # 21 bytes
    s_enc: Secret  # 16 bytes
    s_mac: Secret  # 16 bytes


@dataclass(frozen=True, slots=True)
class WriteAccepted:
    """The card said 9000 with an 8-byte R-MAC: the receipt, for the centre to judge."""

    chaining_value: bytes = field(repr=False)  # 16 bytes
    r_mac: bytes = field(repr=False)  # 8 bytes
    signing_password_tries: int | None  # counter read afterwards; None when it could not be read


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """A definite no: 69xx, 6Axx or 63Cx without data; or the channel was refused before the write (sent False)."""

    status_word: int
    sent: bool


@dataclass(frozen=True, slots=True)
class WriteNotSent:
    """The link failed before the RESET RETRY COUNTER was handed to transmit: the card is not changed."""


@dataclass(frozen=True, slots=True)
class WriteUnknown:
    """The RESET RETRY COUNTER was handed to transmit and no definite answer came."""


WriteResult = WriteAccepted | WriteRefused | WriteNotSent | WriteUnknown
