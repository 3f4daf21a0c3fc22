from __future__ import annotations

import pytest

from gatewayd.reader import pcsc
from tests.unit.gatewayd.reader.fake_scard import FakeScard


@pytest.fixture
def scard(monkeypatch: pytest.MonkeyPatch) -> FakeScard:
    fake = FakeScard()
    monkeypatch.setattr(pcsc, "scard", fake)
    return fake
