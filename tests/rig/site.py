"""What exists before anything runs: the centre's directory, a kiosk's certificate, and registered cards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cardsim import persona as personas
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
    def make(cls, directory: Path, cards_of: Sequence[str] = PERSONAS) -> Self:
        """Make keys, test authority, database, one kiosk, and a card of each persona; open at all hours."""
        site = cls(directory)
        directory.mkdir(parents=True, exist_ok=True)
        run([BIN / "centrald", "init", "--directory", site.central, "--always-open"])
        site.let_often()
        site.cards.mkdir()
        with ThreadPoolExecutor() as pool:
            kiosk = pool.submit(site.add_kiosk, CHAIN, STORE, KIOSK_NUMBER, site.kiosk)
            cards = list(pool.map(site.issue, cards_of))
            kiosk.result()
        site.admit(*cards)
        return site

    def let_often(self) -> None:
        """Let one phone reserve for one card as often as a module of tests does."""
        config = self.central / "centrald.toml"
        content, count = re.subn(r"^((?:address|certificate)_\w+ =) \d+", r"\1 10000", config.read_text(), flags=re.M)
        assert count
        config.write_text(content)

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
    ) -> Path:
        """Issue a card (persona: a name or a TOML file), named by its file's stem. The centre does not know it yet."""
        card = self.cards / f"{name or Path(persona).stem}.json"
        command: list[str | Path] = [BIN / "cardsim", "issue", "--persona", persona, "--out", card]
        command += ["--registry", _entry(card)]
        command += ["--authority", self.central / "authority", "--master-key", self.central / "keys/master.key"]
        if user_pin is not None:
            command += ["--user-pin", user_pin]
        if signing_password is not None:
            command += ["--signing-password", signing_password]
        run(command)
        return card

    def register(self, *cards: Path) -> None:
        """Let the centre know issued cards; those whose persona has no registry entry it is not told of."""
        known = [_entry(card).read_text() for card in cards if _entry(card).exists()]
        if known:
            entries = self.cards / "registry.jsonl"
            entries.write_text("".join(known))
            run([BIN / "centrald", "card", "register", entries, "--directory", self.central])

    def revoke(self, card: Path, certificate: str) -> None:
        """Let the centre know that one of a registered card's certificates, "user" or "signing", is revoked."""
        serial = json.loads(_entry(card).read_text())["user_certificate_serial"]
        command = [BIN / "centrald", "card", "revoke", serial, "--certificate", certificate]
        run([*command, "--directory", self.central])

    def add(self, *cards_of: str) -> None:
        """Have a card of each persona, called by its name and known to the centre as such a card is."""
        with ThreadPoolExecutor() as pool:
            self.admit(*pool.map(self.issue, [each for each in cards_of if not self.card(each).exists()]))

    def card(self, name: str) -> Path:
        """Return where the card of this name is, or would be."""
        return self.cards / f"{name}.json"

    def admit(self, *cards: Path) -> None:
        """Register cards, and revoke what is revoked of the personas they are called by."""
        self.register(*cards)
        for card in cards:
            for certificate in personas.load(card.stem).revoked if card.stem in personas.names() else ():
                self.revoke(card, certificate)

    def take(self, card: Path) -> None:
        """Take over a card that was issued in another copy of this site."""
        for file in (card, _entry(card)):
            if file.exists():
                shutil.copy(file, self.cards)
        self.admit(self.card(card.stem))


def _entry(card: Path) -> Path:
    return card.with_suffix(".entry")
