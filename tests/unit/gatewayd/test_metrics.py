from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from gatewayd.app import make_metrics
from gatewayd.metrics import Metrics
from gatewayd.session.reasons import ENDINGS
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


async def test_a_card_that_nobody_takes_shows_for_how_long() -> None:
    clock = FakeClock()
    metrics = Metrics(CollectorRegistry(), clock)
    value = metrics.registry.get_sample_value
    assert value("gatewayd_card_removal_seconds") == 0
    metrics.card_to_be_taken(asked=True)
    await clock.advance(200)
    assert value("gatewayd_card_removal_seconds") == 200
    metrics.lease_released(260)
    assert value("gatewayd_card_removal_seconds") == 0


def test_ready_is_a_reason_like_the_others() -> None:
    metrics = Metrics(CollectorRegistry(), FakeClock())
    value = metrics.registry.get_sample_value
    metrics.ready(set(), ("draining", "maintenance"))
    assert value("gatewayd_ready", {"reason": "none"}) == 1
    metrics.ready({"draining"}, ("draining", "maintenance"))
    assert value("gatewayd_ready", {"reason": "none"}) == 0
    assert value("gatewayd_ready", {"reason": "draining"}) == 1
    assert value("gatewayd_ready", {"reason": "maintenance"}) == 0


def test_what_alerts_look_at_is_there_before_it_happens() -> None:
    """Or the first event is no increase: a series that begins with 1 has never been less."""
    value = make_metrics(FakeClock()).registry.get_sample_value
    for outcome, reason in ENDINGS:
        assert value("gatewayd_attempts_total", {"outcome": outcome, "reason": reason}) == 0
    assert value("gatewayd_attempts_total", {"outcome": "unknown", "reason": "restarted"}) == 0
    assert value("gatewayd_lease_refused_total", {"reason": "card_left_behind"}) == 0
    assert value("gatewayd_reader_lock_failures_total", {"reason": "reader_held"}) == 0
    assert value("gatewayd_user_pin_verifications_total", {"result": "locked"}) == 0
    assert value("gatewayd_receipts_refused_total") == 0
    assert value("gatewayd_ready", {"reason": "none"}) == 0, "not known is not ready"


def test_every_metric_is_the_daemons_own_and_explained() -> None:
    metrics = Metrics(CollectorRegistry(), FakeClock())
    metrics.build("1.2.3")
    lines = generate_latest(metrics.registry).decode().splitlines()
    helps = [line for line in lines if line.startswith("# HELP")]
    assert all(line.split()[2].startswith("gatewayd_") and len(line.split()) > 3 for line in helps)
    assert 'gatewayd_build_info{version="1.2.3"} 1.0' in lines
