"""The three long-running parts as real processes, each usable alone."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from cardsim import control
from cardsim.fault import Fault
from tests.rig.pcscd import VirtualReader
from tests.rig.process import BIN, ROOT, Process, RigError, run
from tests.rig.site import Site


class Part:
    """A program that says with one JSON line when it serves, and can be stopped, killed and started again."""

    name: str
    ready_event: str

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running program. Raises RigError when it is not started."""
        if self._process is None:
            raise RigError(f"{self.name} is not started")
        return self._process

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.running

    def command(self) -> Sequence[str | Path]:
        """Return the command line."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Return what is added to the environment."""
        return {}

    def launch(self) -> None:
        """Start the program without waiting for it."""
        if self._process is not None:
            raise RigError(f"{self.name} runs already")
        temporary = self.log.with_suffix(".tmp")  # beside the log, so that a search for secrets sees it
        temporary.mkdir(parents=True, exist_ok=True)
        env = {"TMPDIR": str(temporary), **self.environment()}
        self._process = Process(self.name, self.command(), log=self.log, env=env)

    def wait_ready(self) -> None:
        """Wait until it serves. Raises RigError."""
        self.serving(self.process.wait_for_event(self.ready_event))

    def serving(self, event: dict[str, Any]) -> None:
        """Take what the program tells of itself when it serves."""

    def start(self) -> Self:
        """Start the program and wait until it serves. Raises RigError."""
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """End the program (SIGTERM). Raises RigError unless it ends in time with exit code 0."""
        process, self._process = self.process, None
        code = process.stop()
        if code:
            raise RigError(f"{self.name} ended with {code}, see {self.log}")

    def ended(self, seconds: float) -> int:
        """Wait until the program, asked before, has ended; return its exit code. Raises RigError in time."""
        code = self.process.wait(seconds)
        self._process = None
        return code

    def kill(self) -> None:
        """End the program as a power cut would (SIGKILL)."""
        process, self._process = self.process, None
        process.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self.process.signal(number)

    def restart(self) -> None:
        """Stop the program and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Make sure that it does not run; harmless when repeated."""
        if self._process is not None:
            process, self._process = self._process, None
            process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class CardSimulator(Part):
    """Cards and the slots they can be put into."""

    name = "cardsim"
    ready_event = "ready"

    def __init__(
        self,
        cards: Sequence[Path],
        slots: Mapping[str, VirtualReader],
        *,
        control: Path,
        ledger: Path,
        log: Path,
        insert: str | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`moved` is called after a card was put into a slot or taken out of one."""
        super().__init__(log)
        self._moved = moved
        self.cards = list(cards)
        self.slots = {name.lower(): reader for name, reader in slots.items()}
        self.control = control
        self.ledger = ledger
        self.first_insert = insert

    def command(self) -> Sequence[str | Path]:
        """See `Part`."""
        words: list[str | Path] = [BIN / "cardsim", "run", *self.cards, "--control", self.control]
        for name, reader in self.slots.items():
            words += ["--slot", f"{name}={reader.port}"]
        words += ["--ledger", self.ledger]
        if self.first_insert is not None:
            words += ["--insert", self.first_insert]
        return words

    def insert(self, card: str, slot: str = "kiosk") -> None:
        """Put a card (by its file's stem) into a slot. The reader sees it up to 0.4 s later, when pcscd looks again."""
        control.call(self.control, control.Insert(card, slot))
        self._moved()

    def remove(self, slot: str = "kiosk") -> None:
        """Take the card out of a slot."""
        control.call(self.control, control.Remove(slot))
        self._moved()

    def remove_all(self) -> None:
        """Take every card out of its slot."""
        for shown in self.show_all():
            if shown["slot"]:
                self.remove(shown["slot"])

    def move(self, source: str, target: str) -> None:
        """Take the card out of one slot and put it into another."""
        control.call(self.control, control.Move(source, target))
        self._moved()

    def plan(self, at: str, kind: str, point: str = "after_effect", **more: Any) -> int:
        """Plan a fault at a command from now on (`verify#2`) and return its number; see docs/CARDSIM.md."""
        planned = msgspec.convert({"at": at, "kind": kind, "point": point, **more}, Fault)
        number = control.call(self.control, control.FaultAdd(planned))["id"]
        assert isinstance(number, int)
        return number

    def faults(self) -> list[dict[str, Any]]:
        """Return the planned faults, each with `state` waiting or fired and the ledger's `seq`."""
        faults: list[dict[str, Any]] = control.call(self.control, control.FaultList())["faults"]
        return faults

    def struck(self, number: int) -> bool:
        """Whether this fault has fired."""
        (fault,) = (fault for fault in self.faults() if fault["id"] == number)
        return bool(fault["state"] == "fired")

    def release(self) -> None:
        """Let a mute card go on."""
        control.call(self.control, control.FaultRelease())

    def clear_faults(self) -> None:
        """Forget all faults and let go what they hold."""
        control.call(self.control, control.FaultClear())

    @contextlib.contextmanager
    def fault(self, at: str, kind: str, point: str = "after_effect", **more: Any) -> Iterator[int]:
        """Plan a fault for a block, which fails when its end comes and the fault has not fired."""
        number = self.plan(at, kind, point, **more)
        yield number
        assert self.struck(number), f"no {kind} {point} at {at}"

    @contextlib.contextmanager
    def held(self, command: str) -> Iterator[None]:
        """Let a card carry out the next command of this name, and keep its answer back until the block ends."""
        self.plan(command.lower().replace(" ", "_"), "mute")
        try:
            yield
        finally:
            self.clear_faults()

    def show(self, card: str) -> dict[str, Any]:
        """Return the card's whole state, secret values included."""
        (shown,) = control.call(self.control, control.Show(card))["cards"]
        assert isinstance(shown, dict)
        return shown

    def show_all(self) -> list[dict[str, Any]]:
        """Return the whole state of every card, secret values included."""
        shown: list[dict[str, Any]] = control.call(self.control, control.Show())["cards"]
        return shown

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the ledger's entries with a number above `since`, oldest first."""
        entries = (json.loads(line) for line in self.ledger.read_text().splitlines())
        return [entry for entry in entries if entry["seq"] > since]

    def commands(self, since: int = 0) -> list[str]:
        """Return the names of the APDUs the cards were sent after entry `since`, oldest first."""
        return [entry["command"] for entry in self.entries(since) if entry["event"] == "apdu"]

    def position(self) -> int:
        """Return the number of the ledger's newest entry."""
        return max((entry["seq"] for entry in self.entries()), default=0)


class Centrald(Part):
    """The central service on its embedded database."""

    name = "centrald"
    ready_event = "serving"

    def __init__(self, site: Site, *, log: Path) -> None:
        super().__init__(log)
        self.site = site
        self.kiosk_address = ""
        self.phone_address = ""
        self.metrics_address = ""

    @property
    def authority(self) -> Path:
        """What clients verify the server's certificate with."""
        return self.site.central / "tls/server-ca.pem"

    def command(self) -> Sequence[str | Path]:
        """See `Part`."""
        return [BIN / "centrald", "serve", "--directory", self.site.central]

    def serving(self, event: dict[str, Any]) -> None:
        """See `Part`. The addresses are kept for the next start: kiosks and Prometheus know where to find it."""
        self.kiosk_address = event["kiosk_address"]
        self.phone_address = event["phone_address"]
        self.metrics_address = event["metrics_address"]
        self.configure(kiosks=self.kiosk_address, phones=self.phone_address, address=self.metrics_address)

    def configure(self, **texts: str) -> None:
        """Set texts in the configuration file, each by its key; read at the next start."""
        config = self.site.central / "centrald.toml"
        content = config.read_text()
        for key, text in texts.items():
            content = re.sub(rf'^{key} = ".*?"', f"{key} = {json.dumps(text)}", content, flags=re.MULTILINE)
        config.write_text(content)

    def ledger(self, attempt_id: str | None = None) -> list[dict[str, Any]]:
        """Return the centre's ledger, or what it says of one attempt, oldest entry first."""
        only = () if attempt_id is None else ("--attempt", attempt_id)
        text = run([BIN / "centrald", "ledger", "show", "--json", "--directory", self.site.central, *only])
        return [json.loads(line) for line in text.splitlines()]


class Gatewayd(Part):
    """The kiosk's daemon."""

    name = "gatewayd"
    ready_event = "serving"

    def __init__(
        self,
        directory: Path,
        *,
        site: Site,
        central_address: str,
        socket: Path,
        reader: str,
        pcsc: Mapping[str, str],
        log: Path,
        log_level: str = "info",
        program: Sequence[str | Path] = (BIN / "gatewayd",),
        certificates: Path | None = None,
    ) -> None:
        """Take the certificates of another kiosk than the site's first, if there are any."""
        super().__init__(log)
        directory.mkdir(parents=True, exist_ok=True)
        self.socket = socket
        self.operators_socket = socket.with_name("operators.sock")
        self.config = directory / "gatewayd.toml"
        self.journal = directory / "journal.db"
        self.metrics_url = ""
        self._pcsc = pcsc
        self.program = program
        kiosk = certificates or site.kiosk
        sections: dict[str, dict[str, object]] = {
            "api": {"socket": socket},
            "operators": {"socket": self.operators_socket},
            "reader": {"name": reader},
            "central": {
                "address": central_address,
                "certificate": kiosk / "kiosk.pem",
                "key": kiosk / "kiosk.key",
                "authority": kiosk / "server-ca.pem",
            },
            "journal": {"path": self.journal},
            "metrics": {"address": "127.0.0.1:0"},
            "log": {"level": log_level},
        }
        self.config.write_text(toml(sections))

    def command(self) -> Sequence[str | Path]:
        """See `Part`."""
        return [*self.program, "--config", self.config]

    def environment(self) -> Mapping[str, str]:
        """See `Part`: where PC/SC is, and what the unit sets."""
        return {**self._pcsc, **unit_environment()}

    def serving(self, event: dict[str, Any]) -> None:
        """See `Part`."""
        self.metrics_url = f"http://{event['metrics_address']}/metrics"


def unit_environment() -> dict[str, str]:
    """Return the variables that the packaged unit gives the daemon."""
    lines = (ROOT / "systemd/gatewayd.service").read_text().splitlines()
    settings = (line.removeprefix("Environment=") for line in lines if line.startswith("Environment="))
    return {name: value for name, _, value in (setting.partition("=") for setting in settings)}


def toml(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Return sections of strings as TOML (a JSON string is a TOML string, too)."""
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(str(value))}" for key, value in values.items()), ""]
    return "\n".join(lines)
