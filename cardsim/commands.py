"""The commands the card knows: class, instruction and parameter bytes, each with its source."""

from __future__ import annotations

from typing import Final

from cardsim.apdu import CardError, Command, Status

CLA_PLAIN: Final = 0x00  # ISO/IEC 7816-4:2020, 5.4.1
CLA_SECURE: Final = 0x04  # GPC_SPE_034 11.1.4: proprietary secure messaging
CLA_PROPRIETARY: Final = 0x80  # GPC_SPE_034 11.1.4, and JICSAP
CLA_PROPRIETARY_SECURE: Final = 0x84  # GPC_SPE_034 11.1.4

INS_VERIFY: Final = 0x20  # ISO/IEC 7816-4:2020, 11.6.6
INS_CHANGE_REFERENCE_DATA: Final = 0x24  # ISO/IEC 7816-4:2020, 11.6.7
INS_PERFORM_SECURITY_OPERATION: Final = 0x2A  # ISO/IEC 7816-8
INS_RESET_RETRY_COUNTER: Final = 0x2C  # ISO/IEC 7816-4:2020, 11.6.10
INS_INITIALIZE_UPDATE: Final = 0x50  # GPC_SPE_014 7.1.1
INS_EXTERNAL_AUTHENTICATE: Final = 0x82  # GPC_SPE_014 7.1.2
INS_GET_CHALLENGE: Final = 0x84  # ISO/IEC 7816-4:2020, 11.6.3
INS_SET_PUBLIC_KEY: Final = 0xA2  # JICSAP; for 特定機関認証
INS_SELECT: Final = 0xA4  # ISO/IEC 7816-4:2020, 11.2.2
INS_READ_BINARY: Final = 0xB0  # ISO/IEC 7816-4:2020, 11.3.3

SELECT_ROOT: Final = 0x00  # P1: by file id from the master file
SELECT_ELEMENTARY: Final = 0x02  # P1: EF under the current application
SELECT_BY_NAME: Final = 0x04  # P1: by application identifier
SELECT_NO_DATA: Final = 0x0C  # P2: no answer data wanted
CHANGE_NEW_ONLY: Final = 0x01  # P1: the new value alone, the old one was verified before
RESET_NEW_VALUE_ONLY: Final = 0x02  # P1: new reference data, the right was proven before
FILE_ID_LENGTH: Final = 2  # ISO/IEC 7816-4:2020, 7.2.2
CURRENT_FILE: Final = 0x80  # P2: the selected EF; with a short EF identifier in the low bits, that EF
SHORT_ID_MASK: Final = 0x1F
CHANNEL_BITS: Final = 0x03  # of CLA, ISO/IEC 7816-4:2020, 5.4.1
SECURE_MESSAGING_BITS: Final = 0x0C
CHAINING_BIT: Final = 0x10
LAST_PROPRIETARY_CLASS: Final = 0x9F

NAMES: Final = {
    INS_VERIFY: "VERIFY",
    INS_CHANGE_REFERENCE_DATA: "CHANGE REFERENCE DATA",
    INS_PERFORM_SECURITY_OPERATION: "COMPUTE DIGITAL SIGNATURE",
    INS_RESET_RETRY_COUNTER: "RESET RETRY COUNTER",
    INS_INITIALIZE_UPDATE: "INITIALIZE UPDATE",
    INS_EXTERNAL_AUTHENTICATE: "EXTERNAL AUTHENTICATE",
    INS_GET_CHALLENGE: "GET CHALLENGE",
    INS_SET_PUBLIC_KEY: "SET PUBLIC IC KEY",
    INS_SELECT: "SELECT",
    INS_READ_BINARY: "READ BINARY",
}


def command_name(ins: int) -> str:
    """Return the instruction's name, or its byte in hex."""
    return NAMES.get(ins, f"{ins:02X}")


def refuse_class(command: Command) -> None:
    """Refuse what the class byte asks for and the card does not do: channels, chaining, other secure messaging."""
    cla = command.cla
    if cla > LAST_PROPRIETARY_CLASS or CHAINING_BIT << 1 <= cla < CHAINING_BIT << 2:
        raise CardError(Status.UNKNOWN_CLASS)
    if cla & CHANNEL_BITS or CHAINING_BIT << 2 <= cla < CLA_PROPRIETARY:
        raise CardError(Status.CHANNEL_NOT_SUPPORTED)
    if cla & CHAINING_BIT:
        raise CardError(Status.CHAINING_NOT_SUPPORTED)
    if cla & SECURE_MESSAGING_BITS:
        late = command.ins in (INS_READ_BINARY, INS_VERIFY)
        raise CardError(Status.SECURE_MESSAGING_REFUSED if late else Status.SECURE_MESSAGING_NOT_SUPPORTED)


def demand_length(condition: bool) -> None:
    """Raise CardError for a wrong length unless the condition holds."""
    if not condition:
        raise CardError(Status.WRONG_LENGTH)


def demand_parameters(condition: bool) -> None:
    """Raise CardError for wrong parameters P1 or P2 unless the condition holds."""
    if not condition:
        raise CardError(Status.WRONG_PARAMETERS)
