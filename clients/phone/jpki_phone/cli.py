"""The command line: options and help. Everything heavy is imported when the command runs."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from jpki_phone.problems import EXIT_CODES

app = typer.Typer(
    help="Does with a card reader what the phone app (JPKI暗証番号リセット) does before a visit to the kiosk.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,  # they would print local variables
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jpki-phone {importlib.metadata.version('jpki-phone')}")
        raise typer.Exit


@app.callback()
def jpki_phone(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep `reserve` a command of its own."""


@app.command(epilog=EXIT_CODES)
def reserve(
    address: Annotated[
        str, typer.Option(envvar="CENTRALD_PHONE_ADDRESS", help="The centre's address for phones.", metavar="HOST:PORT")
    ],
    ca: Annotated[
        Path,
        typer.Option(
            envvar="CENTRALD_CA",
            help="The certificate authority (PEM) of the centre's server.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ],
    reader: Annotated[
        str | None,
        typer.Option(envvar="PHONE_READER", help="Name of the PC/SC reader; needed when there is more than one."),
    ] = None,
    wait: Annotated[int, typer.Option(help="Seconds to wait for a card.", min=0, max=600)] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Reserve a reset for the card on the reader.

    It is the signing password (署名用パスワード) that is reset. The 4-digit PIN is asked hidden, after the tries
    left; the last try wants a "yes" first. It is sent to the card once. When standard input is not a terminal, each
    answer is one line of it. The reservation lives 24 hours. The face of the holder is not compared with the
    photograph in the chip, and the centre is told so.
    """
    from jpki_phone.run import run

    raise typer.Exit(run(reader or None, address, ca, wait_s=wait, as_json=as_json))
