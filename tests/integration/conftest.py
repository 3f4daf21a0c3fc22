"""The real PC/SC stack, private, one for each test process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.rig.pcscd import PrivatePcscd


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
