"""The commands' bodies, apart from the command line so that `--help` needs neither grpc nor the contract."""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TextIO

import msgspec

from gatewayctl import texts
from gatewayctl.attempts import ID_LENGTH, list_attempts, show_attempt
from gatewayctl.conversation import Conversation
from gatewayctl.exits import ExitCode
from gatewayctl.link import BrokenCall, open_link, unreachable
from gatewayctl.report import Reporter
from gatewayctl.status import show_status, watch_status
from gatewayctl.terminal import Terminal, harmless


def status(socket: str, operators_socket: str, *, as_json: bool, watch: bool) -> ExitCode:
    """Run `gatewayctl status`; the status is told on both sockets, and an operator may use one of them only."""
    if not os.access(socket, os.W_OK) and os.access(operators_socket, os.W_OK):
        socket = operators_socket

    async def work() -> ExitCode:
        async with open_link(socket) as link:
            if watch:
                await watch_status(link, as_lines=as_json)
            return await show_status(link, as_lines=as_json)

    code = _translated(socket, work)
    return ExitCode.DONE if watch and code is ExitCode.LEFT else code


def attempts(operators_socket: str, *, unresolved: bool, limit: int, as_json: bool) -> ExitCode:
    """Run `gatewayctl attempts`."""

    async def work() -> ExitCode:
        async with open_link(operators_socket) as operators:
            return await list_attempts(operators, _say, unresolved=unresolved, limit=limit, as_lines=as_json)

    return _translated(operators_socket, work)


def attempt(socket: str, operators_socket: str, attempt_id: str, *, as_json: bool) -> ExitCode:
    """Run `gatewayctl attempt`."""

    async def work() -> ExitCode:
        async with open_link(operators_socket) as operators, open_link(socket) as link:
            return await show_attempt(operators, link, attempt_id, _say, as_lines=as_json)

    return _translated(socket if len(attempt_id) == ID_LENGTH else operators_socket, work)


def reset(socket: str, attempt_id: str, *, as_json: bool) -> ExitCode:
    """Run `gatewayctl reset`; where nobody serves, nothing begins."""
    if error := unreachable(socket):
        _write(sys.stderr, f"{texts.no_answer(socket, error)} Nothing was begun.\n")
        return ExitCode.BROKEN_CALL

    async def work() -> ExitCode:
        words = sys.stderr if as_json else sys.stdout
        terminal = Terminal(sys.stdin.fileno(), lambda text: _write(words, text))
        emit = _say if as_json else None
        async with open_link(socket) as link:
            conversation = Conversation(link, terminal, Reporter(terminal.say, emit), attempt_id)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                loop.add_signal_handler(number, conversation.interrupt)
            loop.add_signal_handler(signal.SIGCONT, terminal.hush_again)
            with terminal.hushed():
                terminal.say(texts.TERMS)
                ending = await conversation.run()
            return ending.exit_code

    return _translated(socket, work)


def doctor(config: str, *, as_json: bool) -> ExitCode:
    """Run `gatewayctl doctor`."""
    from gatewayctl.doctor.examination import examine, report
    from gatewayctl.doctor.telling import lines, summary

    now = datetime.datetime.now(datetime.UTC)
    findings = []
    try:
        for finding in examine(Path(config), now):
            findings.append(finding)
            if not as_json:
                _say("\n".join(lines(finding)))
    except KeyboardInterrupt:
        return ExitCode.LEFT
    whole = report(findings, now, importlib.metadata.version("gatewayd"))
    _say(msgspec.json.encode(whole).decode() if as_json else f"\n{summary(whole)}")
    return whole.worst.exit_code


def print_doctor_schema() -> ExitCode:
    """Run `gatewayctl doctor --schema`."""
    from gatewayctl.doctor.finding import Report

    _say(json.dumps(msgspec.json.schema(Report), indent=2))
    return ExitCode.DONE


def _translated(socket: str, work: Callable[[], Coroutine[None, None, ExitCode]]) -> ExitCode:
    try:
        return asyncio.run(work())
    except BrokenCall as error:
        _write(sys.stderr, f"{texts.no_answer(socket, unreachable(socket) or error)}\n")
        return ExitCode.BROKEN_CALL
    except KeyboardInterrupt:
        return ExitCode.LEFT


def _say(line: str) -> None:
    _write(sys.stdout, f"{line}\n")


def _write(stream: TextIO, text: str) -> None:
    stream.write(harmless(text))
    stream.flush()
