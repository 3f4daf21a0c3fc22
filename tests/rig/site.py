"""What exists before anything runs: the centre's directory, a kiosk's certificate, and registered cards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.rig.process import BIN, run

CHAIN, STORE, KIOSK_NUMBER = "chain-a", "store-0001", "kiosk-1"
KIOSK_ID = f"{CHAIN}/{STORE}/{KIOSK_NUMBER}"
LOCKED = "locked"
PERSONAS = (LOCKED, "forgotten", "user-pin-locked")


@dataclass(frozen=True)
class Site:
    """One test country in a directory; can be copied, because making RSA keys is what takes the time."""

    directory: Path

    @property
    def central(self) -> Path:
        """The centre's directory, as `centrald init` made it."""
        return self.directory / "central"

    @property
    def kiosk(self) -> Path:
        """The kiosk's certificate, key and the centre's authority."""
        return self.directory / "kiosk"

    @property
    def cards(self) -> Path:
        """The issued cards, one JSON file each."""
        return self.directory / "cards"

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make keys, test authority, database and one kiosk, open at all hours."""
        site = cls(directory)
        directory.mkdir(parents=True, exist_ok=True)
        run([BIN / "centrald", "init", "--directory", site.central, "--always-open"])
        site.add_kiosk(CHAIN, STORE, KIOSK_NUMBER, site.kiosk)
        site.cards.mkdir()
        return site

    def copy(self, directory: Path) -> Site:
        """Copy it, to be used by one test."""
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        return Site(directory)

    def add_kiosk(self, chain: str, store: str, kiosk: str, out: Path) -> None:
        """Let the centre issue a kiosk's certificate into `out`."""
        run([BIN / "centrald", "kiosk", "add", chain, store, kiosk, "--directory", self.central, "--out", out])

    def issue(
        self,
        persona: str = LOCKED,
        *,
        name: str | None = None,
        user_pin: str | None = None,
        signing_password: str | None = None,
        register: bool = True,
    ) -> Path:
        """Issue a card, by default registered at the centre too, and return its file; its name is the file's stem."""
        card = self.cards / f"{name or persona}.json"
        entry = card.with_suffix(".entry")
        command: list[str | Path] = [BIN / "cardsim", "issue", "--persona", persona, "--out", card, "--registry", entry]
        command += ["--authority", self.central / "authority", "--master-key", self.central / "keys/master.key"]
        if user_pin is not None:
            command += ["--user-pin", user_pin]
        if signing_password is not None:
            command += ["--signing-password", signing_password]
        run(command)
        if register:
            run([BIN / "centrald", "card", "register", entry, "--directory", self.central])
        return card
