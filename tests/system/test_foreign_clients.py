"""The daemon's sockets through three foreign gRPC clients: whole resets, refusals, errors, and who may see what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE

from tests.rig.citizen import Citizen
from tests.rig.foreign import GATEWAY, OPERATOR, RESET, Buf, Client, GrpcJs, Grpclib
from tests.rig.front_end import FINISHED, Attempt, FrontEnd

CLIENTS = ["grpc-js", "buf curl", "grpclib"]
AN_ID = "0c5d6d0e-55a8-4f0c-9e1f-6a3c6a1d7b42"


@asynccontextmanager
async def connected(name: str, socket: Path) -> AsyncIterator[Client]:
    match name:
        case "grpc-js":
            yield GrpcJs(socket)
        case "buf curl":
            yield Buf(socket)
        case _:
            async with Grpclib.connected(socket) as client:
                yield client


@pytest.mark.parametrize("name", CLIENTS)
async def test_whole_reset(citizen: Citizen, name: str, new_password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    citizen.reserve()
    async with connected(name, citizen.stack.gatewayd.socket) as client:
        status = await client.status()
        assert (status.ready, status.reader) == (True, "Kiosk 00 00")
        monkeypatch.setattr(citizen.front, "resets", client)
        attempt = await citizen.reset(new_password)
        await attempt.call.done_writing()  # the outcome is there: nothing can be said any more
        assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
    assert citizen.references["signing_password"]["value"] == new_password
    record = await citizen.front.attempt_record(attempt.id)
    assert record.outcome == OUTCOME_DONE


@pytest.mark.parametrize("name", CLIENTS)
async def test_refused_attempt(citizen: Citizen, name: str) -> None:
    running = await citizen.agree()
    async with connected(name, citizen.stack.gatewayd.socket) as client:
        attempt = await Attempt(cast("Any", client), AN_ID).start()
        await attempt.call.done_writing()
        view = await attempt.until(FINISHED)
        assert (view.number, view.reason) == (1, reasons.REASON_BUSY)
        await attempt.end()
    await running.cancel()
    await running.end()


@pytest.mark.parametrize("name", CLIENTS)
async def test_error_carries_its_reason(citizen: Citizen, name: str) -> None:
    async with connected(name, citizen.stack.gatewayd.socket) as client:
        call = client.ResetPassword()
        await call.write(reset.ResetPasswordRequest(start=reset.Start(procedure=reset.PROCEDURE_SIGNING_PASSWORD)))
        await call.done_writing()
        end = await call.end()
        await call.close()
    assert (end.code, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "START_INVALID")
    assert end.message == "the first request is not a well-formed start"


async def test_operators_socket_describes_itself(citizen: Citizen) -> None:
    stack = citizen.stack
    operators = Buf(stack.gatewayd.operators_socket, reflection=True)
    offered = await operators.services()
    assert {GATEWAY, OPERATOR} <= set(offered)
    assert RESET not in offered
    attempt = await citizen.agree()
    await attempt.cancel()
    await attempt.end()
    listed = await operators.ask(OPERATOR, "ListAttempts", '{"page_size": 1}')
    assert listed["attempts"][0]["attemptId"] == attempt.id
    told = await operators.ask(OPERATOR, "GetTimeline", f'{{"attempt_id": "{attempt.id}"}}')
    assert [entry["event"] for entry in told["entries"]] == ["accepted", "finished"]


async def test_kiosk_socket_offers_neither_journal_nor_reflection(citizen: Citizen) -> None:
    socket = citizen.stack.gatewayd.socket
    call = Buf(socket).call(OPERATOR, "ListAttempts", "--data", "{}")
    end = await call.end()
    assert (end.code, end.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    reflected = Buf(socket, reflection=True).call(GATEWAY, "GetStatus", "--data", "{}")
    code, _ = await reflected.ended()
    assert code != 0
    async with FrontEnd(socket) as front:
        assert (await front.status()).ready
