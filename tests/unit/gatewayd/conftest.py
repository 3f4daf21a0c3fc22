from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.cards import CardFactory
from tests.fakes.kiosk import Kiosk
from tests.rig.site import Site


@pytest.fixture(scope="session")
def master_key(site: Site) -> bytes:
    return bytes.fromhex((site.central / "keys" / "master.key").read_text(encoding="ascii"))


@pytest.fixture(scope="session")
def factory(site: Site, master_key: bytes) -> CardFactory:
    return CardFactory(site.central / "authority", master_key)


@pytest.fixture
async def kiosk(tmp_path: Path, factory: CardFactory, master_key: bytes) -> AsyncIterator[Kiosk]:
    async with Kiosk.running(tmp_path, factory, master_key) as running:
        yield running
