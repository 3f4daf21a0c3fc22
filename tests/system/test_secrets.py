"""The search for secrets sees what the parts write; what a front-end puts in the wrong place is not repeated either."""

from __future__ import annotations

from typing import TypeAlias

import grpc
import pytest
from jpkireset.gateway.v1 import reset_service_pb2 as reset
from jpkireset.gateway.v1.gateway_service_pb2 import GetAttemptRequest
from jpkireset.gateway.v1.reset_service_pb2 import INPUT_PROBLEM_USER_PIN_FORMAT, OUTCOME_DONE

from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_USER_PIN, SECONDS
from tests.rig.secrecy import CARD_MEMORY, PASSWORD_LENGTH, Planted

Broken: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, bytes]"
Misnamed: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
SERVICE = "/jpkireset.gateway.v1.ResetService"


async def test_search_sees_what_the_parts_write_while_they_run(citizen: Citizen, new_password: str) -> None:
    """What is no secret, the attempt's id, is found in every place in which a secret would be."""
    citizen.reserve()
    attempt = await citizen.reset(new_password)
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE

    directory = citizen.stack.directory
    known = {place.partition(" ")[0] for place in Planted(passwords=[attempt.id[:PASSWORD_LENGTH]]).found(directory)}
    assert "logs/gatewayd.log" in known
    assert known & {"kiosk/journal.db", "kiosk/journal.db-wal"}
    assert known & {"central/centrald.db", "central/centrald.db-wal"}
    searched = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert {"kiosk/journal.db", "logs/pcscd.log", "logs/centrald.log"} <= searched
    assert {"logs/cardsim.log", "ledger.jsonl"} <= searched
    assert '"header"' in citizen.stack.gatewayd.log.read_text(), "the trace of the commands was not on"
    assert Planted(passwords=[new_password]).found(directory / CARD_MEMORY), "the card itself does not hold it"


async def test_secret_in_the_wrong_field_is_not_repeated(citizen: Citizen, planted: Planted, user_pin: str) -> None:
    password = planted.passwords[0]
    misled = reset.Start(attempt_id=password, procedure=reset.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await citizen.front.resets.ResetPassword(
            iter([reset.ResetPasswordRequest(start=misled)]), timeout=SECONDS
        ).read()
    assert password not in str(refused.value)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await citizen.front.gateway.GetAttempt(GetAttemptRequest(attempt_id=password), timeout=SECONDS)
    assert password not in str(unknown.value)

    attempt = await citizen.to_pin()
    await attempt.new_password(password)  # no page asks for it now
    await attempt.user_pin(password)
    assert (await attempt.until(ENTER_USER_PIN)).input_problem == INPUT_PROBLEM_USER_PIN_FORMAT
    await attempt.new_password(user_pin)
    await attempt.cancel()


async def test_secret_in_what_is_no_message_is_not_repeated(citizen: Citizen, new_password: str) -> None:
    """A broken front-end: bytes that cannot be decoded, and a method that does not exist."""
    async with grpc.aio.insecure_channel(f"unix:{citizen.stack.gatewayd.socket}") as channel:
        broken: Broken = channel.stream_stream(f"{SERVICE}/ResetPassword")
        misnamed: Misnamed = channel.unary_unary(f"{SERVICE}/{new_password}")
        with pytest.raises(grpc.aio.AioRpcError) as undecodable:
            await broken(iter([b"\xff\xff" + new_password.encode()]), timeout=SECONDS).read()
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await misnamed(new_password.encode(), timeout=SECONDS)
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert new_password not in str(undecodable.value)
    await citizen.agree()
