"""The person, or the script, in front of the command line."""

from __future__ import annotations

import contextlib
import getpass
import re
import signal
import sys
import warnings
from collections.abc import Iterator

import typer

from jpki_phone.problems import USER_PIN, Problem, not_reserved

PIN_FORM = re.compile(rb"[0-9]{4}\Z")  # J-LIS, JPKI portal: exactly four digits
NO_TEXT = b"\xff"
YES = frozenset({"yes", "はい"})
LAST_TRY = (
    "One try is left (あと1回). If the PIN is wrong it locks, and only the municipal counter can help (市区町村の窓口)."
)
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # Ctrl-C raises an exception of its own
_NUMBERS = ("No tries are", "One try is", "Two tries are", "Three tries are")


def tries_left(tries: int) -> str:
    """Return the tries left of the user PIN in words."""
    words = _NUMBERS[tries] if tries < len(_NUMBERS) else f"{tries} tries are"
    return f"{words} left (あと{tries}回)."


def tell(text: str) -> None:
    """Write to standard error: standard output is for the result."""
    typer.echo(text, err=True)


def ask_user_pin(tries: int) -> bytes:
    """Show the tries left, have the last one confirmed, and return 4 digits, typed hidden.

    When standard input is not a terminal, each answer is a line of it. Raises NotReserved; nothing was sent then.
    """
    tell(tries_left(tries))
    if tries == 1:
        tell(LAST_TRY)
        if _visible_line("Type yes to use the last try: ").strip().lower() not in YES:
            raise not_reserved(Problem.LAST_TRY_NOT_CONFIRMED)
    pin = _hidden_line(f"{USER_PIN}, hidden: ")
    if not pin:
        raise not_reserved(Problem.NOTHING_ENTERED)
    if not PIN_FORM.match(pin):
        raise not_reserved(Problem.USER_PIN_FORMAT)
    return pin


def _visible_line(prompt: str) -> str:
    typer.echo(prompt, nl=False, err=True)
    return sys.stdin.buffer.readline().decode(errors="replace")


def _hidden_line(prompt: str) -> bytes:
    if not sys.stdin.isatty():
        return sys.stdin.buffer.readline().rstrip(b"\r\n")
    with warnings.catch_warnings(), _ended_by_exception():
        warnings.simplefilter("error", getpass.GetPassWarning)  # rather no PIN than a visible one
        try:
            return getpass.getpass(prompt).encode()
        except (EOFError, getpass.GetPassWarning):
            return b""
        except UnicodeError:  # keys of another encoding than the terminal's: certainly no digits
            return NO_TEXT


@contextlib.contextmanager
def _ended_by_exception() -> Iterator[None]:
    """Let a signal that ends the program do so by SystemExit, so that the terminal is given back with its echo.

    The exit code is what a shell tells of a program that the signal ended: 128 and its number.
    """

    def leave(number: int, _: object) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)  # a second one would interrupt the giving back
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
