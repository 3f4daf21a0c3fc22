"""The fake reader keeps the reader's contract."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gatewayd.clock import SystemClock
from gatewayd.reader.port import ReaderPort
from tests.contract.reader_contract import ReaderContract, Stage
from tests.fakes.faults import Exchange, Fault, SimulatedCard
from tests.fakes.reader import FakeReader


@dataclass
class FakeStage:
    fake: FakeReader

    @property
    def reader(self) -> ReaderPort:
        return self.fake

    @property
    def exchanges(self) -> list[Exchange]:
        return self.fake.exchanges

    @property
    def resets(self) -> int:
        return self.fake.resets

    @property
    def is_mute(self) -> bool:
        return self.fake.is_mute

    async def insert(self, card: SimulatedCard) -> None:
        self.fake.insert(card)

    async def remove(self) -> None:
        self.fake.remove()

    def plan(self, number: int, fault: Fault) -> None:
        self.fake.plan(number, fault)

    def answer(self) -> None:
        self.fake.answer()

    def hold(self) -> None:
        self.fake.held_by_another = True

    def restore_service(self) -> None:
        self.fake.restore()


class TestFakeReader(ReaderContract):
    @pytest.fixture
    def stage(self) -> Stage:
        return FakeStage(FakeReader(SystemClock(), patience_s=0.2, lift_patience_s=0.05))
