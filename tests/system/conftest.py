"""The whole stack for a test, and the search for secrets after it."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rig.citizen import Citizen
from tests.rig.front_end import FrontEnd
from tests.rig.opensc import OpenSC
from tests.rig.pcscd import PHONE
from tests.rig.secrecy import PASSWORD_LENGTH, Planted
from tests.rig.site import Site
from tests.rig.stack import Stack

USER_PIN = "1357"  # of every persona


@pytest.fixture
def planted() -> Planted:
    """The secrets of this test: a PIN, and a password nobody else has."""
    letters = string.ascii_uppercase + string.digits
    password = "A1" + "".join(secrets.choice(letters) for _ in range(PASSWORD_LENGTH - 2))
    return Planted(passwords=[password], pins=[USER_PIN])


@pytest.fixture
def new_password(planted: Planted) -> str:
    """A good new password, searched for after the test."""
    return planted.passwords[0]


@pytest.fixture
def user_pin(planted: Planted) -> str:
    """The right PIN, searched for after the test."""
    return planted.pins[0]


@pytest.fixture
def stack(tmp_path: Path, site: Site, planted: Planted) -> Iterator[Stack]:
    """Everything running, no card in any slot. After the test no secret is in any file, log or metric."""
    running = Stack(tmp_path / "stack", site=site)
    with running:
        yield running
        metrics = running.scraped()
    assert planted.found(running.directory, {"metrics": metrics}) == []


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    """Everything running for all tests of a module, the daemon at its most talkative. `citizen` keeps it clean."""
    with Stack(tmp_path_factory.mktemp("shared") / "stack", site=site, log_level="debug") as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_told(request: pytest.FixtureRequest, planted: Planted) -> Iterator[None]:
    """After each test on the shared stack, while the parts still run, no secret is in any file, log or metric."""
    yield
    if "shared_stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("shared_stack")
        assert planted.found(stack.directory, {"metrics": stack.scraped()}) == []


@pytest.fixture
async def citizen(shared_stack: Stack, user_pin: str) -> AsyncIterator[Citizen]:
    """A citizen with a locked card in hand and no reservation yet, at an idle kiosk. All cards are as issued."""
    issued = [(shown["card"], shown["references"]) for shown in shared_stack.cardsim.show_all()]
    if not shared_stack.gatewayd.running:
        shared_stack.gatewayd.start()  # the test before failed and left it so: that is no reason to fail this one
    async with FrontEnd(shared_stack.gatewayd.socket) as front:
        await front.ready()
        yield Citizen(shared_stack, front, user_pin)
    waiting = [fault for fault in shared_stack.cardsim.faults() if fault["state"] == "waiting"]
    shared_stack.cardsim.clear_faults()
    if issued != [(shown["card"], shown["references"]) for shown in shared_stack.cardsim.show_all()]:
        shared_stack.renew_cards()
    else:
        shared_stack.cardsim.remove_all()
    assert shared_stack.gatewayd.running, "the daemon has ended, and was not started again"
    async with FrontEnd(shared_stack.gatewayd.socket) as front:
        await front.idle()
    assert not waiting, "a planned fault has not fired"


@pytest.fixture(scope="session")
def package_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is built once for this run, whichever of its processes asks first."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "package"


@pytest.fixture
def opensc(tmp_path: Path, stack: Stack) -> OpenSC:
    """OpenSC on the phone's reader, where the card is at home."""
    return OpenSC(tmp_path / "opensc", stack.pcscd.environment, stack.pcscd.readers[PHONE].name)
