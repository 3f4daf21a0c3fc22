"""The command line of the simulated card.

Exit codes: 0 done, 1 refused (the message says why), 2 wrong usage, 3 no simulator answers on the control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib.metadata
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cardsim import control, fault, fault_cli, persona, store
from cardsim.card import Card
from cardsim.console import ControlOption, JsonOption, call, refusals
from cardsim.device import CardInSlot
from cardsim.issue import issue as issue_card
from cardsim.issue import load_master_key
from cardsim.ledger import Ledger
from cardsim.signals import stop_signals
from cardsim.slot import Slots
from cardsim.striking import Faults

LAST_PORT = 65_535
READABLE_DIGITS = 64  # of a long field in the text form of the log

app = typer.Typer(
    help="A simulated My Number Card for the PC/SC virtual reader (vsmartcard's vpcd).\n\n"
    "ISSUE a card under a test authority, RUN it beside pcscd, then INSERT, REMOVE and MOVE it, SHOW what it holds and "
    "read the LOG of every APDU. Not a real card: the secrets are in card.json in clear.\n\n"
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no simulator on the control socket.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(fault_cli.app, name="fault")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cardsim {importlib.metadata.version('jpki-cardsim')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep what belongs to no command."""


@app.command()
def issue(
    authority: Annotated[Path, typer.Option(help="Directory with user-ca.{pem,key} and sign-ca.{pem,key}.")],
    master_key: Annotated[Path, typer.Option(help="The centre's master key: 64 hex digits.")],
    out: Annotated[Path, typer.Option(help="The card to make. Holds every secret in clear; mode 0600.")],
    registry: Annotated[Path, typer.Option(help="The entry for the centre's registry to make.")],
    persona_name: Annotated[
        str, typer.Option("--persona", help=f"One of {', '.join(persona.names())}; or a TOML file.")
    ] = persona.DEFAULT,
    user_pin: Annotated[str | None, typer.Option(help="4 digits, instead of the persona's.")] = None,
    signing_password: Annotated[str | None, typer.Option(help="6-16 of A-Z and 0-9, instead of the persona's.")] = None,
) -> None:
    """Make a card: new keys, certificates of the published profile, and its entry for the centre's registry.

    Existing files are not overwritten.
    """
    with refusals():
        if registry.exists():
            raise FileExistsError(f"{registry} exists")
        chosen = persona.load(persona_name).with_values(signing_password=signing_password, user_pin=user_pin)
        issued = issue_card(authority, load_master_key(master_key), chosen, now=_now())
        store.save(issued.memory, out, exclusive=True)
        if issued.registry_entry is None:
            typer.echo("no registry entry: the centre does not know such a card", err=True)
            return
        registry.write_bytes(msgspec.json.encode(issued.registry_entry) + b"\n")
        for each in chosen.revoked:
            serial = issued.registry_entry.user_certificate_serial
            typer.echo(f"tell the centre: centrald card revoke {serial} --certificate {each}", err=True)


@app.command()
def run(
    cards: Annotated[
        list[Path], typer.Argument(metavar="CARD.json...", help="Cards; each is called by its file's stem.")
    ],
    control_socket: ControlOption,
    ledger: Annotated[Path, typer.Option(help="JSON lines, one for each APDU; appended to.")],
    slots: Annotated[list[str], typer.Option("--slot", metavar="NAME=PORT", help="A virtual reader; may be repeated.")],
    insert: Annotated[
        list[str] | None, typer.Option(metavar="CARD@SLOT", help="Insert at once; may be repeated.")
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Faults to plan at once: one [[fault]] table for each.")
    ] = None,
) -> None:
    """Serve cards to virtual readers until Ctrl-C or SIGTERM.

    Prints {"event":"ready"} when the control socket serves. What a card must keep is written back to its file before
    its answer leaves.
    """
    ports = dict(_slot(text) for text in slots)
    if len(ports) < len(slots) or len({path.stem for path in cards}) < len(cards):
        raise typer.BadParameter("two slots of one name, or two cards of one file stem")
    placed = [_placement(text) for text in insert or []]
    with refusals():
        planned = fault.load(faults) if faults else []
        asyncio.run(_run(cards, ports, control_socket, ledger.resolve(), placed, planned))


@app.command("insert")
def insert_card(card: str, slot: str, control_socket: ControlOption) -> None:
    """Put CARD into SLOT. Says so when the reader has not taken it yet; it is tried until the card is removed."""
    if not call(control_socket, control.Insert(card, slot))["connected"]:
        typer.echo(f"{card} waits for the reader of {slot}", err=True)


@app.command()
def remove(slot: str, control_socket: ControlOption) -> None:
    """Take the card out of SLOT."""
    call(control_socket, control.Remove(slot))


@app.command()
def move(source: str, target: str, control_socket: ControlOption) -> None:
    """Move the card in slot SOURCE to slot TARGET, as a citizen carries it from the phone to the kiosk."""
    if not call(control_socket, control.Move(source, target))["connected"]:
        typer.echo(f"the card waits for the reader of {target}", err=True)


@app.command()
def show(
    control_socket: ControlOption,
    card: Annotated[str | None, typer.Argument(help="One card; all by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Dump cards: where each is, and every secret's value and tries left (this is a simulator)."""
    shown: list[dict[str, Any]] = call(control_socket, control.Show(card))["cards"]
    if as_json:
        typer.echo(msgspec.json.encode(shown))
        return
    for each in shown:
        place = f"in {each['slot']}" if each["slot"] else "in no slot"
        table = Table("reference", "value", "tries left", title=f"{each['card']}: {place}", title_justify="left")
        for name, reference in each["references"].items():
            table.add_row(name, reference["value"], f"{reference['tries']} of {reference['limit']}")
        Console().print(table)


@app.command()
def log(
    control_socket: Annotated[
        Path | None, typer.Option("--control", envvar="CARDSIM_CONTROL", help="Control socket of the simulator.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Read this file; works without a simulator.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the ledger: every APDU in order, with what it changed. Secret data is given by its length.

    --json prints the lines as they are stored: seq, at, event, card, slot; for an APDU also command, apdu, answer,
    status, before and after (the card's state: selection, tries, verified references, channel).
    """
    if ledger is None:
        if control_socket is None:
            raise typer.BadParameter("give --ledger, or --control of a running simulator")
        ledger = Path(call(control_socket, control.ShowLedger())["path"])
    with refusals():
        lines = ledger.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            readable = _readable(msgspec.json.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
            raise typer.BadParameter(f"line {number} of {ledger} is no entry of a ledger") from None
        typer.echo(line if as_json else readable)


def main() -> None:
    """Entry point."""
    try:
        app(prog_name="cardsim")
    except OSError as error:  # of standard output, which is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it is tried again at the exit
        sys.exit(f"cardsim: {error.strerror}: not all could be written to standard output")


async def _run(
    paths: list[Path],
    ports: dict[str, int],
    control_path: Path,
    ledger_path: Path,
    placed: list[tuple[str, str]],
    planned: list[fault.Fault],
) -> None:
    ledger = Ledger(ledger_path, _now)
    faults = Faults(ledger)
    cards = {path.stem: _device(path, ledger, faults) for path in paths}
    with stop_signals() as stop, contextlib.closing(ledger):
        async with asyncio.TaskGroup() as tasks:
            slots = Slots(ports, cards, ledger, tasks, faults)
            try:
                for each in planned:
                    slots.plan(each)
                async with control.serving(control_path, slots, ledger_path):
                    for card, slot in placed:
                        await slots.insert(card, slot)
                    typer.echo(msgspec.json.encode({"event": "ready"}))
                    await stop.wait()
            finally:
                await slots.empty()


def _device(path: Path, ledger: Ledger, faults: Faults) -> CardInSlot:
    card = Card(store.load(path), secrets.token_bytes)
    return CardInSlot(path.stem, path, card, ledger, asyncio.sleep, faults)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _slot(text: str) -> tuple[str, int]:
    name, separator, port = text.partition("=")
    if not (name and separator and port.isdecimal() and 0 < int(port) <= LAST_PORT):
        raise typer.BadParameter(f"--slot {text}: expected NAME=PORT")
    return name, int(port)


def _placement(text: str) -> tuple[str, str]:
    card, separator, slot = text.partition("@")
    if not (card and separator and slot):
        raise typer.BadParameter(f"--insert {text}: expected CARD@SLOT")
    return card, slot


def _readable(entry: dict[str, Any]) -> str:
    place = f"{entry['seq']:6} {entry.get('card', '')}@{entry.get('slot', '')}"
    if entry["event"] == "fault":
        return f"{place} -- fault {entry['fault']}: {entry['kind']} {entry['point']} of {entry['struck']}"
    if entry["event"] != "apdu":
        return f"{place} -- {entry['event']}"
    before, after = entry["before"]["tries"], entry["after"]["tries"]
    changes = [f"{name} {before[name]}->{after[name]}" for name in before if before[name] != after[name]]
    apdu, answer = _shortened(entry["apdu"]), _shortened(entry["answer"])
    return " ".join((f"{place} {entry['command']}: {apdu} -> {answer}", entry["status"], *changes))


def _shortened(text: str) -> str:
    return text if len(text) <= READABLE_DIGITS else f"{text[:READABLE_DIGITS]}... ({len(text) // 2} bytes)"
