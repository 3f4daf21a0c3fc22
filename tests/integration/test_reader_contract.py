"""The real reader, on a real pcscd, keeps the contract its fake is tested by."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.reader_contract import ReaderContract, Stage, until
from tests.integration.pcsc_stage import pcsc_stage
from tests.rig.pcscd import PrivatePcscd


class TestPcscReader(ReaderContract):
    @pytest.fixture
    async def stage(self, private_pcscd: PrivatePcscd) -> AsyncIterator[Stage]:
        async with pcsc_stage(private_pcscd) as stage:
            await until(stage.reader, present=False)
            yield stage
