"""The command line: options and help. Everything heavy is imported when the command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jpki_kiosk import __version__
from jpki_kiosk.config import LOG_LEVELS, PANELS, ConfigError, load

USAGE = 2  # the number is the parser's
CANNOT_SERVE = 1

EXIT_CODES = """Exit codes:

\b
0  stopped by SIGTERM or SIGINT
1  could not serve: the address is taken, the state directory cannot be written
2  the command line or the configuration is wrong
"""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,  # they would print local variables
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jpki-kiosk {__version__}")
        raise typer.Exit


@app.command(epilog=EXIT_CODES)
def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the keys gateway, listen, state_directory, panel, log_level.")
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            envvar="JPKI_KIOSK_GATEWAY",
            help="The daemon's socket for front-ends [unix:/run/gatewayd/api.sock].",
            metavar="unix:PATH",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help="Loopback address to serve on; port 0 is chosen [127.0.0.1:8180].", metavar="HOST:PORT"),
    ] = None,
    state_directory: Annotated[
        Path | None, typer.Option(help="Keeps the id of a running attempt over a restart [/var/lib/jpki-kiosk].")
    ] = None,
    panel: Annotated[
        str | None, typer.Option(help=f"The touch screen: {', '.join(PANELS)} pixels [1024x768].", metavar="PIXELS")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help=f"One of {', '.join(LOG_LEVELS)} [info].")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve the kiosk's touch screen to the one browser of this machine.

    It needs gatewayd's socket, and starts and stays up without it: the screen says so then. When it serves, it prints
    one line, {"event":"serving","address":"http://127.0.0.1:8180"}; logs go to standard error, one JSON object a line.
    What is given on the command line wins over the file.
    """
    directory = str(state_directory) if state_directory else None
    try:
        loaded = load(
            config, gateway=gateway, listen=listen, state_directory=directory, panel=panel, log_level=log_level
        )
    except ConfigError as error:
        typer.echo(f"jpki-kiosk: {error}", err=True)
        raise typer.Exit(USAGE) from None
    from jpki_kiosk import run

    try:
        run.run(loaded, announce=_announce)
    except run.CannotServe as error:
        typer.echo(f"jpki-kiosk: {error}", err=True)
        raise typer.Exit(CANNOT_SERVE) from None


def _announce(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
