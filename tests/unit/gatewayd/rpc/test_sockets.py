"""Which socket offers what, to whom."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1 import gateway_service_pb2_grpc

from gatewayd.clock import SystemClock
from gatewayd.errors import ConfigError
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
from gatewayd.rpc.operator_service import OperatorService
from gatewayd.rpc.reset_service import ResetService
from gatewayd.rpc.server import GATEWAY, OPERATOR, RESET, Server, for_front_ends, for_operators
from tests.fakes.kiosk import Kiosk
from tests.rig.closed_window import watch_without_reading
from tests.unit.gatewayd.rpc.served import Daemon, error_info

TIMEOUT_S = 5.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: grpc.aio.Channel, service: str) -> object:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
    return answer.status


async def reflected(channel: grpc.aio.Channel) -> list[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S):
        return [service.name for service in answer.list_services_response.service]
    raise AssertionError("no answer")


async def test_each_socket_offers_its_own(daemon: Daemon) -> None:
    daemon.server.ready()
    daemon.server.admits(True)
    for channel, offered, other in (
        (daemon.api, (GATEWAY, RESET), OPERATOR),
        (daemon.operators, (GATEWAY, OPERATOR), RESET),
    ):
        for service in ("", *offered):
            assert await health_of(channel, service) == SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await health_of(channel, other)
        stub = gateway_service_pb2_grpc.GatewayServiceStub(channel)
        answer = await stub.GetStatus(gateway.GetStatusRequest(), timeout=TIMEOUT_S)
        assert answer.status.kiosk_id == daemon.kiosk.central.kiosk_id


async def test_reflection_is_the_operators(daemon: Daemon) -> None:
    assert {GATEWAY, OPERATOR, "grpc.health.v1.Health"} <= set(await reflected(daemon.operators))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reflected(daemon.api)
    assert error_info(caught.value).reason == "METHOD_UNKNOWN"


async def test_health_says_when_calls_are_served(daemon: Daemon) -> None:
    channels = (daemon.api, daemon.operators)
    assert [await health_of(channel, "") for channel in channels] == [NOT_SERVING, NOT_SERVING]
    daemon.server.ready()
    assert [await health_of(channel, "") for channel in channels] == [SERVING, SERVING]


async def test_health_can_be_watched(daemon: Daemon) -> None:
    watch = health_pb2_grpc.HealthStub(daemon.api).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert (await watch.read()).status == NOT_SERVING
    daemon.server.ready()
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_health_can_be_listed(daemon: Daemon) -> None:
    daemon.server.ready()
    told = await health_pb2_grpc.HealthStub(daemon.api).List(health_pb2.HealthListRequest(), timeout=TIMEOUT_S)
    statuses = {service: answer.status for service, answer in told.statuses.items()}
    assert statuses == {"": SERVING, GATEWAY: SERVING, RESET: NOT_SERVING}


async def test_a_watcher_that_takes_nothing_holds_nobody_up(daemon: Daemon) -> None:
    watch = health_pb2_grpc.HealthStub(daemon.api).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert (await watch.read()).status == NOT_SERVING
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(TIMEOUT_S)
        link.connect(str(daemon.sockets[0]))
        await asyncio.to_thread(watch_without_reading, link, "http", "localhost")
        daemon.server.ready()
        assert (await watch.read()).status == SERVING
        async with asyncio.timeout(TIMEOUT_S):
            await daemon.server.stop(0.1)
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.code() is grpc.StatusCode.OK


async def test_health_of_the_reset_says_whether_an_attempt_could_begin(daemon: Daemon) -> None:
    assert await health_of(daemon.api, RESET) == NOT_SERVING
    daemon.server.ready()
    assert await health_of(daemon.api, RESET) == NOT_SERVING
    for admits, told in ((True, SERVING), (False, NOT_SERVING)):
        daemon.server.admits(admits)
        assert [await health_of(daemon.api, service) for service in (RESET, GATEWAY, "")] == [told, SERVING, SERVING]


async def test_a_socket_is_its_owner_s_alone(daemon: Daemon) -> None:
    assert [stat.S_IMODE(socket.stat().st_mode) for socket in daemon.sockets] == [0o600, 0o600]


def make_server(kiosk: Kiosk, api: Path, operators: Path, group: str = "") -> Server:
    own = GatewayService(kiosk.manager, kiosk.readiness)
    return Server(
        (
            for_front_ends(str(api), group, ResetService(kiosk.manager), own),
            for_operators(str(operators), "", own, OperatorService(kiosk.manager)),
        ),
        Guard(kiosk.metrics, SystemClock()),
    )


async def test_a_group_may_connect(kiosk: Kiosk, daemon: Daemon) -> None:
    directory = daemon.sockets[0].parent
    group = grp.getgrgid(os.getgid()).gr_name
    server = make_server(kiosk, directory / "a", directory / "o", group)
    await server.start()
    assert stat.S_IMODE((directory / "a").stat().st_mode) == 0o660
    assert stat.S_IMODE((directory / "o").stat().st_mode) == 0o600
    await server.stop(0)


@pytest.mark.parametrize("section", ["api", "operators"])
async def test_what_is_no_socket_is_left_alone(kiosk: Kiosk, daemon: Daemon, section: str) -> None:
    directory = daemon.sockets[0].parent
    (directory / f"new-{section}").write_text("precious")
    server = make_server(kiosk, directory / "new-api", directory / "new-operators")
    with pytest.raises(ConfigError, match=rf"not a socket - at `\$\.{section}\.socket`"):
        await server.start()
    assert (directory / f"new-{section}").read_text() == "precious"
    await server.stop(0)


@pytest.mark.parametrize(("place", "group"), [("missing/api", ""), ("api2", "no-such-group")])
async def test_a_socket_that_cannot_be_made(kiosk: Kiosk, daemon: Daemon, place: str, group: str) -> None:
    directory = daemon.sockets[0].parent
    server = make_server(kiosk, directory / place, directory / "o", group)
    with pytest.raises(ConfigError, match=r"at `\$\.api\."):
        await server.start()
    await server.stop(0)
