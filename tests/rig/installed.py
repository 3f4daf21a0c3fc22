"""The kiosk's package as an operator installs it, in a booted throw-away system; card and centre are outside of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.nspawn import Machine, make_tree
from tests.rig.parts import CardSimulator, Centrald
from tests.rig.pcscd import DRIVER, KIOSK, VirtualReader, free_port_pairs
from tests.rig.process import ROOT, Process, RigError, run, wait_until
from tests.rig.site import Site

PACKAGE = "gatewayd"
BUILDER = ROOT / "systemd/debian/build.py"
REFERENCE = "/usr/share/gatewayd/gatewayd.toml"
CONFIG = "/etc/gatewayd/gatewayd.toml"
SOCKET, OPERATORS_SOCKET = "/run/gatewayd/api.sock", "/run/gatewayd/operators/api.sock"
METRICS = "127.0.0.1:9464"
READER = f"{KIOSK} 00 00"  # whole: the virtual reader has a second slot of that name
# A front-end's user, an operator, and somebody who is neither.
FRONT_END, OPERATOR, STRANGER = "screen", "clerk", "stranger"
GROUPS = {FRONT_END: "gatewayd-clients", OPERATOR: "gatewayd-operators", STRANGER: ""}
BUILD_SECONDS = 240.0
PATIENCE_SECONDS = 30.0


def package_in(folder: Path) -> Path:
    """Return the package, built into this folder while the system is made (twice, and compared) if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run side by side
        if not list(folder.glob("*.deb")):
            out = folder / "new"
            command: list[str | Path] = [sys.executable, BUILDER, "--check", "--out", out]
            with Process("package", command, log=folder / "build.log") as building:
                make_tree()
                if building.wait(BUILD_SECONDS):
                    raise RigError(f"the package is not built, or not twice the same:\n{building.output()}")
                print(building.output())
            (built,) = out.glob("*.deb")
            built.rename(folder / built.name)
    (package,) = folder.glob("*.deb")
    return package


def newer(package: Path, version: str, folder: Path) -> Path:
    """Return the same package under another version, as an upgrade has it."""
    folder.mkdir()
    tree, result = folder / "tree", folder / f"{PACKAGE}_{version}.deb"
    run(["dpkg-deb", "--raw-extract", package, tree])
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.MULTILINE))
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, result])
    return result


@dataclass
class Spans:
    """Where the time went, for whoever has to pay for it."""

    spans: list[tuple[str, float]]

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measure a part."""
        began = time.monotonic()
        yield
        self.spans.append((name, time.monotonic() - began))

    def told(self) -> str:
        """Return a line for each part, and their sum."""
        lines = [f"{seconds:6.1f} s  {name}" for name, seconds in self.spans]
        return "\n".join([*lines, f"{sum(seconds for _, seconds in self.spans):6.1f} s  in all"])


class InstalledKiosk:
    """The machine with PC/SC's own service and a virtual reader, a centre, a simulated card, and three users."""

    def __init__(self, machine: Machine, site: Site, directory: Path) -> None:
        self.machine = machine
        self.site = site
        self._directory = directory
        self._cleanup = contextlib.ExitStack()
        self.centrald: Centrald
        self.cardsim: CardSimulator

    def start(self) -> None:
        """Prepare everything but the package itself. Raises RigError."""
        machine, logs = self.machine, self._directory / "logs"
        logs.mkdir(parents=True)
        (port,) = free_port_pairs(1)
        reader = VirtualReader(READER, port)
        machine.write(
            "/etc/reader.conf.d/kiosk",
            f'FRIENDLYNAME "{KIOSK}"\nDEVICENAME /dev/null:{port}\n'
            f"LIBPATH /mnt/driver/{DRIVER.name}\nCHANNELID {port}\n",
        )
        for user in GROUPS:
            machine.run("useradd", "--create-home", user)
        self.centrald = Centrald(self.site, log=logs / "centrald.log")
        self._cleanup.callback(self.centrald.close)
        self.centrald.start()
        cards = sorted(self.site.cards.glob("*.json"))
        self.cardsim = CardSimulator(
            cards,
            {KIOSK: reader},
            control=self._directory / "cardsim.sock",
            ledger=self._directory / "ledger.jsonl",
            log=logs / "cardsim.log",
        )
        self._cleanup.callback(self.cardsim.close)
        self.cardsim.start()

    def configure(self, **changes: object) -> None:
        """Do what an operator does after the installation: keys, configuration, groups."""
        machine = self.machine
        for name, mode in (("kiosk.pem", 0o644), ("server-ca.pem", 0o644), ("kiosk.key", 0o600)):
            machine.write(f"/etc/gatewayd/tls/{name}", (self.site.kiosk / name).read_text(), mode)
        for user, group in GROUPS.items():
            if group:
                machine.run("usermod", "--append", "--groups", group, user)
        text = machine.run("cat", REFERENCE).replace(f'"{METRICS}"', '"127.0.0.1:0"')  # other runs scrape there
        self.set_keys(
            text,
            name=READER,
            address=self.centrald.kiosk_address,
            **changes,
        )

    def set_keys(self, text: str, **changes: object) -> None:
        """Write the configuration with other values of keys (the first of that name)."""
        for key, value in changes.items():
            text, count = re.subn(rf"^{key} = .*$", f"{key} = {json.dumps(value)}", text, count=1, flags=re.MULTILINE)
            assert count, f"no key {key}"
        tomllib.loads(text)
        self.machine.write(CONFIG, text)

    def close(self) -> None:
        """End what is outside of the machine."""
        self._cleanup.close()

    # --- the daemon -------------------------------------------------------------------------------------------------

    @property
    def daemon(self) -> int:
        """The daemon's process number in the machine; 0 when it does not run."""
        return int(self.machine.shown("gatewayd.service", "MainPID"))

    def status(self) -> dict[str, Any]:
        """Return the status as the front-end's user is told; empty when the daemon does not answer."""
        said = self.machine.call("gatewayctl", "status", "--json", user=FRONT_END).stdout
        status: dict[str, Any] = json.loads(said) if said else {}
        return status

    def wait_ready(self) -> None:
        """Wait until an attempt could begin. Raises RigError with what stands in the way."""
        try:
            wait_until(self._is_ready, PATIENCE_SECONDS, "the installed daemon is ready")
        except RigError as error:
            log = self.machine.journal("gatewayd.service")[-4000:]
            raise RigError(f"{error}: {self.status()}\n{log}") from None

    def _is_ready(self) -> bool:
        return self.machine.call("gatewayctl", "status", user=FRONT_END).returncode == 0

    def wait_log(self, words: str, *, after: int = 0, unit: str = "gatewayd.service") -> str:
        """Wait until a unit's log, of which `after` characters are old, says this; return the line. Raises RigError."""

        def find() -> str | None:
            new = self.machine.journal(unit)[after:]
            return next((line for line in new.splitlines() if words in line), None)

        return wait_until(find, PATIENCE_SECONDS, f"{unit} says {words!r}")

    def log_length(self) -> int:
        """Return how much the daemon has logged so far, for `wait_log`."""
        return len(self.machine.journal("gatewayd.service"))

    @contextlib.contextmanager
    def attempt(self, *lines: str) -> Iterator[Process]:
        """Run `gatewayctl reset --json` as the front-end's user, with answers to its questions."""
        answers = self._directory / "answers"
        answers.write_text("".join(f"{line}\n" for line in lines))
        command = self.machine.command("gatewayctl", "reset", "--json", user=FRONT_END)
        with answers.open() as stdin:
            process = Process("gatewayctl", command, log=self._directory / "logs/reset.log", stdin=stdin.fileno())
        try:
            yield process
        finally:
            process.stop()
