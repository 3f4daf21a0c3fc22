"""The whole stack for a test, and the search for secrets after it."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def opensc(tmp_path: Path, stack: Stack) -> OpenSC:
    """OpenSC on the phone's reader, where the card is at home."""
    return OpenSC(tmp_path / "opensc", stack.pcscd.environment, stack.pcscd.readers[PHONE].name)
