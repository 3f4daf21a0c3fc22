"""`centrald init` and `centrald serve`, and where the other commands are hung up."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from centrald.cli import (
    card,
    certificate,
    crl,
    doubt,
    exchange,
    fleet,
    keys,
    kiosk,
    ledger,
    maintenance,
    migrate,
    purge,
    reservation,
)
from centrald.cli.common import DEFAULT_DIRECTORY, EXIT_CODES, AsJson, Directory, Exit, show_one
from centrald.errors import AlreadyThere, CentralError, ConfigError, NotThere, Refused

app = typer.Typer(
    name="centrald",
    help="The central reservation service of the kiosk reset: reservations, card keys, receipts.\n\n"
    "Begin with `centrald init --directory DIR`, then `centrald kiosk add`, `centrald card register` and "
    f"`centrald serve`.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(fleet.chains, name="chain")
app.add_typer(fleet.stores, name="store")
app.add_typer(kiosk.app, name="kiosk")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(card.app, name="card")
card.app.command("import")(exchange.import_cards)
card.app.command("export")(exchange.export_cards)
app.add_typer(certificate.app, name="certificate")
app.add_typer(crl.app, name="crl")
app.add_typer(keys.app, name="keys")
app.add_typer(reservation.app, name="reservation")
app.command()(doubt.doubts)
app.add_typer(ledger.app, name="ledger")
app.command()(migrate.migrate)
app.command()(purge.purge)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"centrald {importlib.metadata.version('jpki-centrald')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep what belongs to no command."""


@app.command()
def init(
    directory: Directory = DEFAULT_DIRECTORY,
    server_name: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address in the server certificate; repeat for more. [localhost, 127.0.0.1]"),
    ] = None,
    always_open: Annotated[
        bool, typer.Option("--always-open", help="Open around the clock, for tests and demonstrations.")
    ] = False,
    storage_url: Annotated[
        str | None,
        typer.Option(help="PostgreSQL to make the tables in, as a URL of SQLAlchemy. [a SQLite file in the directory]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a directory with keys, a test card authority, TLS certificates, configuration and database.

    Refuses to overwrite anything. Keep the directory secret: it holds the master key of all cards.
    """
    from centrald.config import Storage
    from centrald.initialize import initialize

    names = server_name or ["localhost", "127.0.0.1"]
    url = storage_url or Storage().url
    made = initialize(directory, names, always_open=always_open, storage_url=url)
    show_one({"directory": str(directory), "files": made if as_json else " ".join(made)}, as_json=as_json)


@app.command()
def serve(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Serve kiosks and phones until SIGTERM or Ctrl-C.

    Prints one JSON line with the addresses once both listeners serve; logs are JSON lines on standard error.
    """
    import uvloop  # its loop takes a tenth less of the service's time than asyncio's own

    from centrald import app as service
    from centrald.config import load
    from centrald.logs import configure

    configure()
    uvloop.run(service.serve(directory, load(directory), _announce))


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the command line; the service's own exceptions become one line and an exit code."""
    try:
        app(prog_name="centrald")
    except (AlreadyThere, NotThere, Refused) as error:
        _fail(str(error), Exit.REFUSED)
    except ConfigError as error:
        _fail(str(error), Exit.CONFIGURATION)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(where + (error.strerror or str(error) or type(error).__name__), Exit.FAILURE)
    except CentralError as error:
        _fail(str(error) or type(error).__name__, Exit.FAILURE)


def _fail(text: str, code: Exit) -> None:
    typer.echo(f"centrald: {text}", err=True)
    sys.exit(code)
