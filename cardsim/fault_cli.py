"""`cardsim fault`: plan faults of a running simulator, and see which have fired."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cardsim import control
from cardsim.console import REFUSED, ControlOption, JsonOption, call, refusals
from cardsim.fault import Fault, FaultError, Kind, Point

app = typer.Typer(
    help="Plan faults: what shall go wrong, at which command, and at which moment of it. See docs/CARDSIM.md.",
    no_args_is_help=True,
)


@app.command()
def add(
    at: Annotated[str, typer.Argument(help="Command, as verify, reset_retry_counter#2 (the second) or apdu#5 (any).")],
    kind: Annotated[Kind, typer.Argument(help="What goes wrong.")],
    control_socket: ControlOption,
    point: Annotated[Point, typer.Option(help="The moment within the command.")] = Point.AFTER_EFFECT,
    seconds: Annotated[
        float | None, typer.Option(help="How late a delay is; after how long a card torn or swapped in is there.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="The status word, four hex digits.")] = None,
    other: Annotated[str | None, typer.Option(help="The card that takes the place, for swap.")] = None,
    slot: Annotated[str | None, typer.Option(help="Count commands in this slot only.")] = None,
) -> None:
    """Plan a fault, and print its number. Commands count from now on."""
    words = {"seconds": seconds, "status": status, "other": other, "slot": slot}
    given = {name: value for name, value in words.items() if value is not None}
    with refusals():
        try:
            planned = msgspec.convert({"at": at, "kind": kind, "point": point, **given}, Fault)
        except msgspec.ValidationError as error:
            raise FaultError(str(error)) from error
    typer.echo(call(control_socket, control.FaultAdd(planned))["id"])


@app.command("list")
def list_faults(
    control_socket: ControlOption,
    as_json: JsonOption = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when a fault has not fired.")] = False,
) -> None:
    """List the faults: waiting, or fired and as which entry of the ledger."""
    faults: list[dict[str, Any]] = call(control_socket, control.FaultList())["faults"]
    if as_json:
        typer.echo(msgspec.json.encode(faults))
    elif faults:
        table = Table("id", "at", "point", "kind", "state", "ledger")
        for each in faults:
            state = f"{each['state']}, holds the card" if each["active"] else each["state"]
            table.add_row(str(each["id"]), each["at"], each["point"], each["kind"], state, str(each["seq"] or ""))
        Console().print(table)
    if check and any(each["state"] != "fired" for each in faults):
        raise typer.Exit(REFUSED)


@app.command()
def clear(control_socket: ControlOption) -> None:
    """Forget all faults, and let go what they hold."""
    call(control_socket, control.FaultClear())


@app.command()
def release(
    control_socket: ControlOption,
    number: Annotated[int | None, typer.Argument(metavar="[ID]", help="One fault; all by default.")] = None,
) -> None:
    """Let a mute card go on: its answer comes late."""
    call(control_socket, control.FaultRelease(number))
