"""All parts together, as real processes: what the system tests, `make demo` and `make stack` run on."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Never, Self

from tests.rig import metrics
from tests.rig.foreground import until_interrupted
from tests.rig.parts import CardSimulator, Centrald, Gatewayd
from tests.rig.pcscd import KIOSK, PHONE, PrivatePcscd
from tests.rig.process import BIN, Process
from tests.rig.progress import Progress
from tests.rig.site import LOCKED, Site

DEFAULT_DIRECTORY = ".run"
WATCH_SECONDS = 0.2
HINTS = """
Everything serves. Ctrl-C stops it. In another terminal:

  PATH={bin}:$PATH; set -a; . {directory}/env; set +a
  jpki-phone reserve            reserve at home: the card lies on the phone
  cardsim move phone kiosk      take it to the store
  gatewayctl reset              set a new signing password
  cardsim show {card}           look into the card
"""


class Stack:
    """Private PC/SC service, card simulator, centre and daemon; started in this order, ended in the other.

    The parts are attributes and may be stopped, killed and started one by one. Sockets live in the PC/SC service's
    short private folder, because a socket's path has at most 107 bytes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        site: Site | None = None,
        persona: str = LOCKED,
        insert_into: str | None = None,
        log_level: str = "info",
        daemon: Sequence[str | Path] = (BIN / "gatewayd",),
        looks_when_told: bool = False,
    ) -> None:
        """Take a site to copy, or the persona of the one card to make; `insert_into` is the slot the card begins in.

        With `looks_when_told` the PC/SC service sees a card at once that is moved here; see `watchful`.
        """
        self.directory = directory
        self.persona = persona
        self._template = site
        self._insert_into = insert_into
        self._log_level = log_level
        self._daemon = daemon
        self._looks_when_told = looks_when_told
        self._cleanup = contextlib.ExitStack()
        self.site: Site
        self.pcscd: PrivatePcscd
        self.cardsim: CardSimulator
        self.centrald: Centrald
        self.gatewayd: Gatewayd

    @property
    def log_directory(self) -> Path:
        """One file for each part."""
        return self.directory / "logs"

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to reach the parts."""
        return {
            **self.pcscd.environment,
            "GATEWAYD_SOCKET": str(self.gatewayd.socket),
            "GATEWAYD_OPERATORS_SOCKET": str(self.gatewayd.operators_socket),
            "GATEWAYD_CONFIG": str(self.gatewayd.config.resolve()),
            "GATEWAYD_METRICS_URL": self.gatewayd.metrics_url,
            "CENTRALD_KIOSK_ADDRESS": self.centrald.kiosk_address,
            "CENTRALD_PHONE_ADDRESS": self.centrald.phone_address,
            "CENTRALD_DIRECTORY": str(self.site.central.resolve()),
            "CENTRALD_CA": str(self.centrald.authority.resolve()),
            "CARDSIM_CONTROL": str(self.cardsim.control),
            "KIOSK_READER": self.pcscd.readers[KIOSK].name,
            "PHONE_READER": self.pcscd.readers[PHONE].name,
        }

    def steps(self) -> Iterator[str]:
        """Bring everything up; each part's name is yielded once it serves. Raises RigError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        logs = self.log_directory
        logs.mkdir()
        self.pcscd = PrivatePcscd(log=logs / "pcscd.log", looks_when_told=self._looks_when_told)
        self._cleanup.callback(self.pcscd.close)
        self.pcscd.start()
        yield "private pcscd with the readers " + " and ".join(r.name for r in self.pcscd.readers.values())

        if self._template is None:
            self.site = Site.make(self.directory, [self.persona])
        else:
            self.site = self._template.copy(self.directory)
        self.centrald = Centrald(self.site, log=logs / "centrald.log")
        self._cleanup.callback(self.centrald.close)
        self.centrald.launch()
        cards = sorted(self.site.cards.glob("*.json"))
        self.cardsim = CardSimulator(
            cards,
            self.pcscd.readers,
            control=self.pcscd.directory / "cardsim.sock",
            ledger=self.directory / "ledger.jsonl",
            log=logs / "cardsim.log",
            insert=f"{cards[0].stem}@{self._insert_into}" if self._insert_into else None,
            moved=self.pcscd.look,
        )
        self._cleanup.callback(self.cardsim.close)
        self.cardsim.launch()
        self.centrald.wait_ready()
        yield f"centrald for kiosks on {self.centrald.kiosk_address}, for phones on {self.centrald.phone_address}"

        self.gatewayd = Gatewayd(
            self.directory / "kiosk",
            site=self.site,
            central_address=self.centrald.kiosk_address,
            socket=self.pcscd.directory / "gatewayd.sock",
            reader=self.pcscd.readers[KIOSK].name,
            pcsc=self.pcscd.environment,
            log=logs / "gatewayd.log",
            log_level=self._log_level,
            program=self._daemon,
        )
        self._cleanup.callback(self.gatewayd.close)
        self.gatewayd.launch()
        self.cardsim.wait_ready()
        yield "cardsim with the card " + ", ".join(card.stem for card in cards)
        self.gatewayd.wait_ready()
        yield f"gatewayd on {self.gatewayd.socket}"

    def add_card(self, persona: str) -> str:
        """Have the card of a persona in the simulator, which restarts for a new one; return its name. Raises RigError.

        It is issued once for all copies of a site.
        """
        if persona not in (card.stem for card in self.cardsim.cards):
            if self._template is None:
                self.site.add(persona)
            else:
                self._template.add(persona)
                self.site.take(self._template.card(persona))
            self.cardsim.cards.append(self.site.card(persona))
            self.cardsim.restart()
        return persona

    def renew_cards(self) -> None:
        """Take every card out and put it back to how it was issued. Raises RigError."""
        assert self._template is not None, "only a copy can be made anew"
        self.cardsim.stop()
        for card in self._template.cards.glob("*.json"):
            shutil.copy(card, self.site.cards)
        self.cardsim.start()

    def scraped(self) -> str:
        """Return the daemon's metrics as text; nothing when it does not run."""
        return metrics.text(self.gatewayd.metrics_url) if self.gatewayd.running else ""

    def start(self) -> Self:
        """Bring everything up. Raises RigError."""
        try:
            for _ in self.steps():
                pass
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End everything, in order; harmless when repeated. Raises RigError when a part would not end."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def publish(stack: Stack) -> None:
    """Write `env`, shell assignments, and then `ready`."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in stack.environment.items()]
    (stack.directory / "env").write_text("".join(lines))
    (stack.directory / "ready").touch()


def watch(stack: Stack, progress: Progress) -> Never:
    """Tell when a part ends that nobody stopped; runs until it is interrupted."""
    parts: dict[str, Process] = {part.name: part.process for part in (stack.centrald, stack.cardsim, stack.gatewayd)}
    while True:
        for name in [name for name, process in parts.items() if not process.running]:
            progress.failed(f"{name} has ended with {parts.pop(name).wait()}")
        time.sleep(WATCH_SECONDS)


def serve(directory: Path, cleanup: contextlib.ExitStack, progress: Progress) -> Never:
    """Start the parts, say how to use them, and watch them."""
    persona = os.environ.get("PERSONA") or LOCKED
    stack = cleanup.enter_context(contextlib.closing(Stack(directory, persona=persona, insert_into="phone")))
    for line in stack.steps():
        progress.done(line)
    publish(stack)
    progress.note(HINTS.format(directory=os.path.relpath(directory), bin=os.path.relpath(BIN), card=Path(persona).stem))
    watch(stack, progress)


def main() -> int:
    """Run everything in the foreground until Ctrl-C."""
    return until_interrupted(DEFAULT_DIRECTORY, serve)


if __name__ == "__main__":
    sys.exit(main())
