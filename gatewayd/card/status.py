"""What a status word says, and what it does not.

Tries are read from SW2 only when SW1 is 63: a client that takes the low nibble of any refusal reads "4 left" from 6984.
"""

from __future__ import annotations

OK = 0x9000  # normal end, ISO/IEC 7816-4:2013, 5.1.3
END_OF_FILE = 0x6282  # fewer bytes than Le, ISO/IEC 7816-4:2013, 5.1.3
REFERENCE_BLOCKED = 0x6983  # authentication method blocked, ISO/IEC 7816-4:2013, 5.1.3
REFERENCE_UNUSABLE = 0x6984  # reference data not usable: this card's answer for "blocked", JICSAP 2.0

_COUNTER = 0x63C0  # 63Cx: x tries left, ISO/IEC 7816-4:2013, 5.1.3
_COUNTER_MASK = 0xFFF0
_TRIES_MASK = 0x000F
_BLOCKED = frozenset({REFERENCE_BLOCKED, REFERENCE_UNUSABLE})

_CHECKING_ERRORS = range(0x6700, 0x6F00)  # the command was not executed, ISO/IEC 7816-4:2013, 5.1.3; without 6F00
_REFUSING_SW1 = frozenset({0x69, 0x6A})  # command not allowed, wrong parameters: ISO/IEC 7816-4:2013, 5.1.3
_SW2_BITS = 8


def tries_left(status_word: int) -> int | None:
    """Return the tries a VERIFY or a counter query tells: x for 63Cx, 0 for a blocked one, None for anything else."""
    if status_word & _COUNTER_MASK == _COUNTER:
        return status_word & _TRIES_MASK
    return 0 if status_word in _BLOCKED else None


def is_definite_refusal(status_word: int) -> bool:
    """Tell whether the card certainly changed nothing: 69xx, 6Axx, 63Cx. Meant for an answer without data."""
    return status_word >> _SW2_BITS in _REFUSING_SW1 or status_word & _COUNTER_MASK == _COUNTER


def is_checking_error(status_word: int) -> bool:
    """Tell whether the card knows neither this command nor this file: the usual answer of a card of another kind."""
    return status_word in _CHECKING_ERRORS


def show(status_word: int) -> str:
    """Return four upper-case hex digits."""
    return f"{status_word:04X}"
