from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from gatewayd.metrics import Metrics
from tests.fakes.clock import FakeClock


async def test_a_held_lock_shows_its_age_while_it_is_held() -> None:
    clock = FakeClock()
    metrics = Metrics(CollectorRegistry(), clock)
    value = metrics.registry.get_sample_value
    assert value("gatewayd_reader_lock_held") == 0
    metrics.lock_taken()
    await clock.advance(3)
    assert value("gatewayd_reader_lock_held") == 1
    assert value("gatewayd_reader_lock_age_seconds") == 3
    metrics.lock_released()
    assert value("gatewayd_reader_lock_age_seconds") == 0


def test_ready_is_a_reason_like_the_others() -> None:
    metrics = Metrics(CollectorRegistry(), FakeClock())
    value = metrics.registry.get_sample_value
    metrics.ready(set(), ("draining", "maintenance"))
    assert value("gatewayd_ready", {"reason": "none"}) == 1
    metrics.ready({"draining"}, ("draining", "maintenance"))
    assert value("gatewayd_ready", {"reason": "none"}) == 0
    assert value("gatewayd_ready", {"reason": "draining"}) == 1
    assert value("gatewayd_ready", {"reason": "maintenance"}) == 0


def test_every_metric_is_the_daemons_own_and_explained() -> None:
    metrics = Metrics(CollectorRegistry(), FakeClock())
    metrics.build("1.2.3")
    lines = generate_latest(metrics.registry).decode().splitlines()
    helps = [line for line in lines if line.startswith("# HELP")]
    assert all(line.split()[2].startswith("gatewayd_") and len(line.split()) > 3 for line in helps)
    assert 'gatewayd_build_info{version="1.2.3"} 1.0' in lines
