"""The command line: options and help. Everything that needs the daemon is imported when a command runs."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Annotated, NamedTuple
from uuid import UUID, uuid4

import typer

from gatewayctl import exits

app = typer.Typer(
    help="Operates the kiosk daemon that resets the signing password (署名用パスワード) of a My Number Card.",
    epilog=exits.HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,  # they would print local variables
)

BEGINNING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,12})?")  # of an id; a receipt has eight digits


def _beginning(text: str) -> str:
    """Return an id as the daemon writes it, whole or in part."""
    try:
        return str(UUID(text))
    except ValueError:
        if BEGINNING.fullmatch(text.lower()):
            return text.lower()
        raise typer.BadParameter("not an id, nor the first eight digits of one") from None


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")]


class Sockets(NamedTuple):
    """Where the daemon is."""

    kiosk: str
    operators: str


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatewayctl {importlib.metadata.version('gatewayd')}")
        raise typer.Exit


@app.callback()
def gatewayctl(
    context: typer.Context,
    socket: Annotated[
        str, typer.Option(envvar="GATEWAYD_SOCKET", help="The daemon's Unix socket.")
    ] = "/run/gatewayd/api.sock",
    operators_socket: Annotated[
        str, typer.Option(envvar="GATEWAYD_OPERATORS_SOCKET", help="The daemon's Unix socket for operators.")
    ] = "/run/gatewayd/operators/api.sock",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep the options of all commands."""
    context.obj = Sockets(socket, operators_socket)


@app.command(epilog=exits.STATUS_HELP)
def status(
    context: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Print it again after every change, until Ctrl-C.")] = False,
) -> None:
    """Tell whether a reset could begin now, or why not.

    Either socket will do.
    """
    from gatewayctl import run

    raise typer.Exit(run.status(context.obj.kiosk, context.obj.operators, as_json=as_json, watch=watch))


@app.command(epilog=exits.RESET_HELP)
def reset(
    context: typer.Context,
    as_json: Json = False,
    attempt_id: Annotated[
        UUID | None, typer.Option(help="Id of the attempt; made up when not given.", metavar="UUID")
    ] = None,
) -> None:
    """Reset a card's signing password, as a dialogue in the terminal.

    Running it means 「同意する」. The PIN and the new password (twice) are asked hidden; the last try of the PIN
    wants a "yes" first. Ctrl-C cancels and waits for the outcome; a second one leaves without it.

    When standard input is not a terminal, it is read one line for each question, in the order of the questions:
    PIN (before it "yes" if one try is left), new password, the same again. The end of input cancels. With --json,
    standard output has one object for each view and one for the ending, never a secret; the dialogue's own words are
    on standard error.
    """
    from gatewayctl import run

    raise typer.Exit(run.reset(context.obj.kiosk, str(attempt_id or uuid4()), as_json=as_json))


@app.command(epilog=exits.ATTEMPTS_HELP)
def attempts(
    context: typer.Context,
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="Only those whose outcome is unknown and not resolved yet.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List attempts, newest first, from the operators' socket."""
    from gatewayctl import run

    raise typer.Exit(run.attempts(context.obj.operators, unresolved=unresolved, limit=limit, as_json=as_json))


@app.command(epilog=exits.ATTEMPT_HELP)
def attempt(
    context: typer.Context,
    attempt_id: Annotated[
        str,
        typer.Argument(parser=_beginning, help="The attempt's id, or its first eight digits or more.", metavar="ID"),
    ],
    as_json: Json = False,
) -> None:
    """Tell what became of an attempt, as the daemon's record has it.

    With its timeline, every durable step, where the operators' socket can be reached. An id in part is looked for
    there, among the newest thousand attempts.
    """
    from gatewayctl import run

    raise typer.Exit(run.attempt(context.obj.kiosk, context.obj.operators, attempt_id, as_json=as_json))


@app.command(epilog=exits.DOCTOR_HELP)
def doctor(
    config: Annotated[
        str, typer.Option(envvar="GATEWAYD_CONFIG", help="The daemon's configuration file.")
    ] = "/etc/gatewayd/gatewayd.toml",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, at the end.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of --json, and look at nothing.")
    ] = False,
) -> None:
    """Look for what keeps this kiosk from working, or is about to.

    Works whether the daemon runs or not, and changes nothing. No command is sent to a card, no reader is connected to,
    no secret is read or shown. Each check says ok, warn, fail, or unknown where this user may not see: root sees all,
    and may run it at any time, also while a citizen is at the kiosk.

    It looks at the configuration; the daemon and its sockets; pcscd, libpcsclite and pyscard, the reader and who has
    it; debug modes that would write PINs into a log; the kiosk's certificate and key; the way to the centre; the clock;
    the disk; and the journal. docs/DOCTOR.md says what makes each check warn or fail.
    """
    from gatewayctl import run

    raise typer.Exit(run.print_doctor_schema() if schema else run.doctor(config, as_json=as_json))
