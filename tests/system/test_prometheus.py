"""A real Prometheus watches a kiosk and its centre through a good and a bad hour: metrics, alerts and dashboards."""

from __future__ import annotations

import asyncio
import json
import math
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from jpkireset.central.v1 import reservation_service_pb2, reservation_service_pb2_grpc
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_UNKNOWN

from docs import metrics as documented
from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_USER_PIN, FINISHED, REMOVE_CARD, Attempt, FrontEnd
from tests.rig.parts import Gatewayd
from tests.rig.process import BIN, run, wait_until
from tests.rig.prometheus import ALERTS, DASHBOARDS, SAMPLE, Prometheus, promtool
from tests.rig.recovery import held
from tests.rig.site import CHAIN, KIOSK_NUMBER, STORE, Site
from tests.rig.stack import Stack

pytestmark = pytest.mark.timeout(180)  # the first test waits for all that happens

USER_PIN, WRONG_PIN = "1357", "8531"
PASSWORD = "KAGAMI2026KAIJOU"
PATIENCE_S = 30.0
POLL_S = 0.05
PENDING = 'ALERTS{alertname="GatewaydReaderDown"}'
CONSTANT = {"gatewayd_build_info"}
SCRAPED = {"__name__", "job", "instance", "le"}  # labels that Prometheus and the text format add
MOST_SAMPLES = 1500  # of a daemon that has lived; each of them costs a scrape
MOST_LINES = 40  # of one panel
RANGE = "10m"  # longer than all of it


@dataclass
class Watched:
    """What has been watched, still running, and what was seen on the way."""

    stack: Stack
    prometheus: Prometheus
    addresses: dict[str, str]
    alerts: dict[str, dict[str, str]]  # by the moment: alerts that were not inactive, with their states


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Watched]:
    """Everything that can happen to a kiosk has happened, and Prometheus has seen it."""
    directory = tmp_path_factory.mktemp("watched")
    with Stack(directory / "stack", site=site) as stack:
        _let_it_ask(stack.gatewayd)
        addresses = {
            "gatewayd": stack.gatewayd.metrics_url.removeprefix("http://").removesuffix("/metrics"),
            "centrald": stack.centrald.metrics_address,
        }
        with Prometheus(directory / "prometheus", **addresses) as prometheus:
            seen = Watched(stack, prometheus, addresses, {})
            asyncio.run(_live(seen))
            yield seen


def _let_it_ask(daemon: Gatewayd) -> None:
    """Let it ask soon for a restart of a PC/SC service that is away, though nobody here grants it."""
    keys = f'pcscd_restart_request = "{daemon.config.with_name("restart-pcscd")}"\npcscd_restart_after_s = 0.5\n'
    daemon.config.write_text(daemon.config.read_text().replace("[reader]\n", f"[reader]\n{keys}"))
    daemon.restart()


async def _live(seen: Watched) -> None:
    async with FrontEnd(seen.stack.gatewayd.socket) as front:
        await front.ready()
        seen.prometheus.until('gatewayd_ready{reason="none"} == 1')
        citizen = Citizen(seen.stack, front, USER_PIN)
        await _a_reset(seen, citizen)
        seen.alerts["after a reset"] = seen.prometheus.alerts()
        await _refusals(citizen)
        await _another_program(citizen)
        _new_certificate(seen.stack)
        attempt = await _centre_falls_silent(seen, citizen)
        await _reader_goes_away(seen, citizen)
        seen.prometheus.until('gatewayd_central_circuit{state="open"} == 1', PATIENCE_S)
        seen.prometheus.until("gatewayd_outbox_pending > 0 and gatewayd_outbox_oldest_seconds > 0", PATIENCE_S)
        seen.prometheus.until('ALERTS{alertname="GatewaydCentreUnreachable"}', PATIENCE_S)  # an evaluation later
        seen.alerts["without centre and reader"] |= seen.prometheus.alerts()
        await _centre_returns(seen, citizen, attempt)


async def _a_reset(seen: Watched, citizen: Citizen) -> None:
    citizen.reserve()
    attempt = await citizen.to_password()
    await attempt.new_password(PASSWORD)
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    seen.prometheus.until(
        "gatewayd_card_removal_seconds > 0 and gatewayd_card_present == 1 and gatewayd_lease_held > 0"
    )
    await citizen.leave(attempt)


async def _refusals(citizen: Citizen) -> None:
    """With a used reservation, with a wrong PIN, with a second front-end, and with a locked PIN."""
    attempt = await citizen.to_pin()
    second = await citizen.front.attempt()
    assert (await second.until(FINISHED)).reason == reasons.REASON_BUSY
    await attempt.user_pin(WRONG_PIN)
    await attempt.until_view(lambda view: view.state == ENTER_USER_PIN and view.user_pin_tries_left == 2)
    await attempt.user_pin(USER_PIN)
    assert (await attempt.until(REMOVE_CARD)).reason == reasons.REASON_RESERVATION_USED
    await citizen.leave(attempt)

    attempt = await citizen.agree()
    citizen.place("user-pin-locked")
    assert (await attempt.until(REMOVE_CARD)).reason == reasons.REASON_USER_PIN_LOCKED
    await citizen.leave(attempt)

    channel = grpc.ssl_channel_credentials(citizen.stack.centrald.authority.read_bytes())
    async with grpc.aio.secure_channel(citizen.stack.centrald.phone_address, channel) as phone:
        with pytest.raises(grpc.aio.AioRpcError, match="deadline"):  # a careless phone
            await reservation_service_pb2_grpc.ReservationServiceStub(phone).GetChallenge(
                reservation_service_pb2.GetChallengeRequest()
            )


async def _another_program(citizen: Citizen) -> None:
    attempt = await citizen.to_pin()
    with held(citizen.stack, citizen.stack.environment["KIOSK_READER"]):
        await attempt.user_pin(USER_PIN)
        assert (await attempt.until(REMOVE_CARD)).reason == reasons.REASON_READER_UNAVAILABLE
    await citizen.leave(attempt)


def _new_certificate(stack: Stack) -> None:
    new = stack.directory / "renewed"
    run([BIN / "centrald", "kiosk", "renew", CHAIN, STORE, KIOSK_NUMBER, "-d", stack.site.central, "--out", new])
    for name in ("kiosk.key", "kiosk.pem"):
        (stack.site.kiosk / name).write_bytes((new / name).read_bytes())

    def renewed() -> bool:
        stack.gatewayd.signal(signal.SIGHUP)
        return '"certificates renewed"' in stack.gatewayd.process.output()

    wait_until(renewed, PATIENCE_S, "certificates renewed")


async def _centre_falls_silent(seen: Watched, citizen: Citizen) -> Attempt:
    """In the middle of a change, whose receipt is damaged: the citizen hears done, by the counter."""
    stack, cardsim = seen.stack, seen.stack.cardsim
    citizen.reserve()
    attempt = await citizen.to_password()
    muted, _ = cardsim.plan("external_authenticate", "mute"), cardsim.plan("reset_retry_counter", "mac_wrong")
    await attempt.new_password(PASSWORD)
    async with asyncio.timeout(PATIENCE_S):
        while not cardsim.struck(muted):
            await asyncio.sleep(POLL_S)
    seen.prometheus.until("gatewayd_reader_lock_held == 1 and gatewayd_reader_lock_age_seconds > 0")
    stack.centrald.stop()
    cardsim.release()
    assert (await attempt.until(REMOVE_CARD)).outcome == OUTCOME_DONE
    await citizen.leave(attempt)
    seen.prometheus.until('up{job="centrald"} == 0')
    return attempt


async def _reader_goes_away(seen: Watched, citizen: Citizen) -> None:
    seen.stack.pcscd.kill()
    for sign in ("gatewayd_reader_up == 0", "gatewayd_pcscd_restarts_asked_total > 0", PENDING):
        seen.prometheus.until(sign, PATIENCE_S)
    seen.alerts["without centre and reader"] = seen.prometheus.alerts()
    seen.stack.pcscd.resume()
    await citizen.front.until_status(lambda status: bool(status.reader))
    seen.prometheus.until("gatewayd_reader_up == 1 and gatewayd_pcsc_reconnects_total > 0", PATIENCE_S)


async def _centre_returns(seen: Watched, citizen: Citizen, attempt: Attempt) -> None:
    """And refuses the damaged receipt."""
    seen.stack.centrald.start()
    async with asyncio.timeout(PATIENCE_S):
        while (await citizen.front.attempt_record(attempt.id)).outcome != OUTCOME_UNKNOWN:
            await asyncio.sleep(POLL_S)
    await citizen.front.ready()
    seen.prometheus.until("gatewayd_attempts_unresolved == 1 and gatewayd_receipts_refused_total == 1", PATIENCE_S)
    seen.prometheus.until('count(ALERTS{alertname=~".*Receipt.*", alertstate="firing"}) == 2', PATIENCE_S)
    seen.prometheus.until('ALERTS{alertname="GatewaydUnresolved"}', PATIENCE_S)
    seen.alerts["in the end"] = seen.prometheus.alerts()


def exposed(family: documented.Family) -> str:
    """The name of a series that a family always has."""
    return f"{family.name}_count" if family.kind == "histogram" else family.name


def known_labels(family: documented.Family) -> dict[str, set[str]]:
    """The values each label may have; none where they are a site's own."""
    return {label: set(values) if len(values) > 1 else set() for label, values in family.labels.items()}


def test_both_are_scraped(watched: Watched) -> None:
    assert {(one["labels"]["job"], one["health"], one["lastError"]) for one in watched.prometheus.targets()} == {
        ("gatewayd", "up", ""),
        ("centrald", "up", ""),
    }
    assert [series.value for series in watched.prometheus.query("up")] == [1, 1]


@pytest.mark.parametrize("program", documented.PROGRAMS)
def test_promtool_has_nothing_to_remark(watched: Watched, program: str) -> None:
    url = f"http://{watched.addresses[program]}/metrics"
    assert not promtool("check", "metrics", stdin=metrics.text(url))


@pytest.mark.parametrize("program", documented.PROGRAMS)
def test_every_documented_metric_has_data_and_no_other_does(watched: Watched, program: str) -> None:
    families = documented.families(program)
    assert not [one.name for one in families if not watched.prometheus.query(exposed(one))]
    ends = {"counter": [""], "gauge": [""], "info": [""], "histogram": ["_bucket", "_count", "_sum"]}
    names = {one.name + end for one in families for end in ends[one.kind]}
    held_names = set(watched.prometheus.ask("label/__name__/values"))
    assert {name for name in held_names if name.startswith(program)} == names


def test_every_metric_of_the_daemon_has_moved(watched: Watched) -> None:
    """By what happened: a counter or histogram has counted, a gauge has had two values."""
    still = []
    for family in documented.families("gatewayd"):
        name = exposed(family)
        moved = f"max_over_time({name}[{RANGE}]) - min_over_time({name}[{RANGE}]) > 0"
        if family.kind in ("counter", "histogram"):
            moved = f"max_over_time({name}[{RANGE}]) > 0"
        if not watched.prometheus.query(moved):
            still.append(family.name)
    assert set(still) == CONSTANT


@pytest.mark.parametrize("program", documented.PROGRAMS)
def test_label_sets_are_bounded(watched: Watched, program: str) -> None:
    total = 0
    for family in documented.families(program):
        found = watched.prometheus.query(f'{{__name__=~"{family.name}(_bucket|_count|_sum)?", job="{program}"}}')
        assert 0 < len(found) <= family.most_series, family.name
        total += len(found)
        known = known_labels(family)
        for series in found:
            own = {label: value for label, value in series.labels.items() if label not in SCRAPED}
            assert set(own) == set(known), series
            assert not [label for label, value in own.items() if known[label] and value not in known[label]], series
    limit = [int(number) for number in re.findall(r"sample_limit: (\d+)", SAMPLE.read_text())]
    assert sum(one.most_series for one in documented.families(program)) < min(limit), (
        "a scrape that is refused is blind"
    )
    (scraped,) = watched.prometheus.query(f'scrape_samples_scraped{{job="{program}"}}')
    print(f"{program}: {total} series of its own, {scraped.value:.0f} samples a scrape")
    assert scraped.value < MOST_SAMPLES


def test_no_label_says_anything_of_a_citizen(watched: Watched) -> None:
    """Names and values of all labels there ever were: no id of an attempt, no serial number, no secret."""
    said = [*watched.prometheus.ask("labels")]
    for label in tuple(said):
        if label != "authority":  # key identifiers of authorities are public, and look like a serial number
            said += watched.prometheus.ask(f"label/{label}/values")
    assert not [word for word in said if re.search(r"[0-9a-f]{8}", word.replace("-", ""))]
    assert not {USER_PIN, WRONG_PIN, PASSWORD} & set(said)
    assert not [word for word in said if "locked.json" in word or "forgotten" in word]


def test_every_rule_can_be_evaluated(watched: Watched) -> None:
    rules = watched.prometheus.rules()
    assert len(rules) == sum(path.read_text().count("- alert:") for path in ALERTS.glob("*.yml"))
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


def test_alerts_tell_what_happened_and_nothing_else(watched: Watched) -> None:
    assert watched.alerts["after a reset"] == {}
    away = watched.alerts["without centre and reader"]
    assert {"CentraldDown", "GatewaydCentreUnreachable", "GatewaydReaderDown"} <= set(away)
    assert {name for name, state in away.items() if state == "firing"} == {"GatewaydReaderHeld"}
    firing = {name for name, state in watched.alerts["in the end"].items() if state == "firing"}
    assert firing == {"GatewaydReaderHeld", "GatewaydReceiptRefused", "CentraldReceiptInvalid"}
    assert watched.alerts["in the end"]["GatewaydUnresolved"] == "pending"
    assert all(one["annotations"]["runbook_url"] for one in watched.prometheus.ask("alerts")["alerts"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_gives_data(watched: Watched, path: Path) -> None:
    dashboard = json.loads(path.read_text())
    instances = watched.prometheus.ask("label/instance/values", **{"match[]": f"{path.stem}_build_info"})
    assert len(instances) == 1, "what the variable offers"
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert queries
    for query in queries:
        asked = query
        for variable, value in {"$instance": instances[0], "$__rate_interval": RANGE, "$__range": RANGE}.items():
            asked = asked.replace(variable, value)
        found = watched.prometheus.query(asked)
        assert [series for series in found if not math.isnan(series.value)], query
        assert len(found) <= MOST_LINES, query
