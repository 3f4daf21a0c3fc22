"""Rotation of the master key: old cards go on with theirs, new ones get the new one, also inside a token."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cardsim.card import Card
from cardsim.memory import ChannelMemory
from cardsim.scp03 import StaticKeys
from centrald import masterkeys
from centrald.config import Service, Storage
from centrald.masterkeys import Generation, KeyRing, TokenPlace
from centrald.rules.model import Outcome, Refusal, State
from tests.rig.soft_token import MODULE, make
from tests.unit.centrald.world import KIOSK, PROCEDURE, HeldCard, ManualClock, World

FIRST, RING = "keys/master.key", "keys/ring.toml"
OLD, NEW = 0x31, 0x32


@dataclass
class Centre:
    """A directory whose service is stopped and started again."""

    directory: Path
    clock: ManualClock
    world: World

    async def restart(self) -> None:
        await self.world.database.close()
        self.world = World(self.directory, self.clock, Service().hours(), Storage().url)


@pytest.fixture
async def centre(initialized: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    directory = tmp_path / "central"
    shutil.copytree(initialized, directory)
    clock = ManualClock()
    made = Centre(directory, clock, World(directory, clock, Service().hours(), Storage().url))
    await made.world.add_kiosk(KIOSK)
    yield made
    await made.world.database.close()


async def personalised(centre: Centre, version: int) -> HeldCard:
    """Issue a card with the key version, its keys from the ring, as issuance does beside the centre."""
    held = await centre.world.card(version)
    channel = held.issued.memory.channel
    ring = KeyRing.open(centre.directory, FIRST, RING)
    keys = await ring.static_keys(PROCEDURE, version, channel.diversification_data)
    ring.close()
    own = ChannelMemory(channel.diversification_data, {version: StaticKeys(enc=keys.enc, mac=keys.mac)})
    card = Card(replace(held.issued.memory, channel=own), lambda length: bytes(range(length)))
    card.power_on()
    return HeldCard(held.issued, card)


async def resets(world: World, card: HeldCard) -> State:
    await world.reserved(card)
    attempt = await world.checked(card)
    return (await attempt.done(await attempt.write(card))).state


async def test_old_cards_go_on_and_new_ones_use_the_new_key(centre: Centre, tmp_path: Path) -> None:
    old = await centre.world.card(OLD)
    await centre.world.reserved(old)
    running = await centre.world.checked(old)
    given = await running.authorized(old)

    (token,) = make(tmp_path / "hsm", "centre")
    pin = centre.directory / "keys/token.pin"
    pin.write_text(token.pin)
    pin.chmod(0o600)
    place = TokenPlace(MODULE, token.label, "second", "keys/token.pin")
    masterkeys.generate(centre.directory, Generation(NEW, token=place))
    masterkeys.add(centre.directory, FIRST, RING, Generation(NEW, token=place))
    await centre.restart()

    # An attempt that was running ends as if nothing had happened.
    receipt = old.write(given.external_authenticate, given.s_enc, given.s_mac)
    report = await centre.world.kiosks.report(KIOSK, running.id, 1, Outcome.DONE, 0, receipt)
    assert report.state is State.USED
    # Old cards and new ones, each by its own master key.
    assert await resets(centre.world, old) is State.USED
    new = await personalised(centre, NEW)
    assert await resets(centre.world, new) is State.USED
    # A card of the new version that was made with the old master key is not genuine.
    forged = await centre.world.card(NEW)
    await centre.world.reserved(forged)
    assert await (await centre.world.checked(forged)).authorize(forged) is Refusal.CARD_NOT_GENUINE
