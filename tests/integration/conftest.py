"""The real PC/SC stack, private, one for each test process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.opensc import OpenSC
from tests.rig.parts import CardSimulator
from tests.rig.pcscd import KIOSK, PrivatePcscd
from tests.rig.site import Site


@pytest.fixture(scope="session")
def private_pcscd() -> Iterator[PrivatePcscd]:
    """A PC/SC service with the readers "Kiosk 00 00" and "Phone 00 00", which this process's own calls reach, too.

    libpcsclite keeps the first socket name a process used, so there is one service for the whole run, and a test that
    stops it has to `resume` it.
    """
    with PrivatePcscd() as pcscd:
        os.environ.update(pcscd.environment)
        yield pcscd
        for name in pcscd.environment:
            del os.environ[name]


@pytest.fixture
def issued(site: Site) -> Site:
    """Whose cards the simulator has; a module may have others."""
    return site


@pytest.fixture
def simulator(tmp_path: Path, issued: Site, private_pcscd: PrivatePcscd) -> Iterator[CardSimulator]:
    """A card of each persona, in no slot yet: `simulator.insert("locked", "kiosk")`."""
    cards = sorted(issued.copy(tmp_path / "site").cards.glob("*.json"))
    with CardSimulator(
        cards,
        private_pcscd.readers,
        control=private_pcscd.directory / "cardsim.sock",
        ledger=tmp_path / "ledger.jsonl",
        log=tmp_path / "cardsim.log",
    ) as running:
        yield running
    private_pcscd.wait_until_empty()


@pytest.fixture
def opensc(tmp_path: Path, private_pcscd: PrivatePcscd) -> OpenSC:
    """OpenSC's tools on the kiosk's reader."""
    return OpenSC(tmp_path / "opensc", private_pcscd.environment, private_pcscd.readers[KIOSK].name)
