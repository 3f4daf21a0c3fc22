"""What the commands of the command line share: options, the call to a running simulator, and how errors end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cardsim import control, fault, persona, store
from cardsim.certificates import AuthorityError
from cardsim.issue import MasterKeyError
from cardsim.ledger import LedgerError
from cardsim.slot import SlotError

REFUSED = 1
UNREACHABLE = 3

ControlOption = Annotated[
    Path, typer.Option("--control", envvar="CARDSIM_CONTROL", help="Control socket of the running simulator.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def call(path: Path, request: control.Request) -> control.Answer:
    """Ask the running simulator; what goes wrong ends the program."""
    with refusals():
        return control.call(path, request)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what may be expected to go wrong into a message and an exit code."""
    expected = (
        AuthorityError,
        LedgerError,
        MasterKeyError,
        OSError,
        SlotError,
        control.ControlError,
        fault.FaultError,
        persona.PersonaError,
        store.StoreError,
    )
    try:
        yield
    except control.UnreachableError as error:
        _fail(error, UNREACHABLE)
    except expected as error:
        _fail(error, REFUSED)
    except ExceptionGroup as group:  # from the task group of `run`
        first, *_ = group.exceptions
        if not isinstance(first, expected):
            raise
        _fail(first, REFUSED)


def _fail(error: Exception, code: int) -> NoReturn:
    told = str(error)
    if isinstance(error, OSError) and error.strerror:
        told = ": ".join(filter(None, (error.filename, error.strerror)))
    typer.echo(f"cardsim: {told}", err=True)
    raise typer.Exit(code) from None
