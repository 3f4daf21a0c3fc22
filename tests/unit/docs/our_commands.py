"""The commands of our own programs, as the programs know them."""

from __future__ import annotations

from typing import Any

import typer

import cardsim.cli
import centrald.cli.main
import gatewayctl.cli
import jpki_kiosk.cli
import jpki_phone.cli

PROGRAMS: dict[str, Any] = {
    "cardsim": typer.main.get_command(cardsim.cli.app),
    "centrald": typer.main.get_command(centrald.cli.main.app),
    "gatewayctl": typer.main.get_command(gatewayctl.cli.app),
    "jpki-kiosk": typer.main.get_command(jpki_kiosk.cli.app),
    "jpki-phone": typer.main.get_command(jpki_phone.cli.app),
}


def command_of(words: list[str]) -> str:
    """Return the name of the command that these words call; one in capitals stands for any.

    Raises LookupError when one of our programs has no such command, or the command no such option.
    """
    command, rest = PROGRAMS[words[0]], words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name, rest = rest[0], rest[1:]
        if name.isupper():
            return name
        if name not in command.commands:
            raise LookupError(f"no such command: {' '.join(words)}")
        command = command.commands[name]
    known = {"--help"} | {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    if missing := {word.partition("=")[0] for word in rest if word.startswith("-")} - known:
        raise LookupError(f"no such option: {', '.join(missing)} of {' '.join(words)}")
    return str(command.name)
