"""The way to the centre, gone step by step so that the causes of a failure are told apart."""

from __future__ import annotations

import contextlib
import datetime
import queue
import socket
import ssl
import threading
from dataclasses import dataclass

import grpc
from jpkireset.central.v1 import common_pb2
from jpkireset.central.v1.kiosk_service_pb2 import GetServiceStatusRequest, GetServiceStatusResponse
from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceStub

from gatewayctl.doctor.settings import Settings

STEP_S = 3.0

_WORDS = {
    common_pb2.REFUSAL_KIOSK_NOT_ENABLED: "not_enabled",
    common_pb2.REFUSAL_OUT_OF_HOURS: "out_of_hours",
    common_pb2.REFUSAL_MAINTENANCE: "maintenance",
}


@dataclass(frozen=True)
class Way:
    """How far one came.

    `word`: dns, refused, unreachable, deadline, tls, not_accepted, denied, unavailable, not_enabled: where it ended;
    open, out_of_hours, maintenance: the centre serves this kiosk; files: our own files cannot be used; hidden: the
    centre's certificate is good, and this user may not use our key.
    """

    word: str
    detail: str = ""
    skew_s: float | None = None  # the centre's clock minus ours, where the centre told the time


def go(settings: Settings) -> Way:
    """Go as far as possible."""
    host, _, port = settings.central_address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        return Way("dns", "central.address is not host:port")
    try:
        context = ssl.create_default_context(cafile=str(settings.authority))
    except OSError as error:  # an SSLError is one
        return Way("files", f"{settings.authority}: {error.strerror or 'no certificate'}")
    context.set_alpn_protocols(["h2"])
    try:
        _see_certificate(_connected(host, int(port)), settings.server_name or host, context)
    except _Ended as error:
        return error.way
    return _ask(settings)


class _Ended(Exception):
    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word)
        self.way = Way(word, detail)


def _addresses(host: str, port: int) -> list[str]:
    """Look the name up, on a thread that may be left behind: a name server that is silent is waited for much longer."""
    found: queue.SimpleQueue[list[str] | str] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            found.put(error.strerror or "no answer")
        except ValueError:  # of a name that no name server is asked for, as a..b
            found.put("it is no name")
        else:
            found.put([str(address[0]) for *_, address in answers])

    threading.Thread(target=look, name="name lookup", daemon=True).start()
    try:
        answer = found.get(timeout=STEP_S)
    except queue.Empty:
        raise _Ended("dns", "the name server does not answer") from None
    if isinstance(answer, str):
        raise _Ended("dns", answer)
    return answer


def _connected(host: str, port: int) -> socket.socket:
    ended = _Ended("unreachable")
    for address in _addresses(host, port):
        try:
            return socket.create_connection((address, port), STEP_S)
        except ConnectionRefusedError:
            ended = _Ended("refused")
        except TimeoutError:
            ended = _Ended("deadline")
        except OSError as error:
            ended = _Ended("unreachable", error.strerror or "")
    raise ended


def _see_certificate(connection: socket.socket, name: str, context: ssl.SSLContext) -> None:
    """Shake hands without a certificate of ours: in TLS 1.3 the centre's is seen before it can refuse."""
    try:
        with contextlib.closing(connection), context.wrap_socket(connection, server_hostname=name):
            return
    except ssl.SSLCertVerificationError as error:
        raise _Ended("tls", error.verify_message) from None
    except ssl.SSLError as error:
        raise _Ended("tls", (error.reason or "no TLS is spoken there").replace("_", " ").lower()) from None
    except TimeoutError:
        raise _Ended("deadline") from None
    except OSError:
        raise _Ended("tls", "the connection ended in the handshake") from None


def _ask(settings: Settings) -> Way:
    try:
        files = [path.read_bytes() for path in (settings.authority, settings.key, settings.certificate)]
    except PermissionError as error:
        return Way("hidden", f"{error.filename}: {error.strerror}")
    except OSError as error:
        return Way("files", f"{error.filename}: {error.strerror}")
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    credentials = grpc.ssl_channel_credentials(*files)
    with contextlib.closing(grpc.secure_channel(settings.central_address, credentials, options)) as channel:
        try:
            answer = KioskServiceStub(channel).GetServiceStatus(GetServiceStatusRequest(), timeout=STEP_S)
        except grpc.RpcError as error:
            return _broken(error)
    return _understood(answer)


def _broken(error: grpc.RpcError) -> Way:
    code, text = error.code(), error.details() or ""
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return Way("denied", text)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Way("deadline")
    # The handshake was good a moment ago, so it is our certificate that is not liked, whatever words gRPC finds.
    if code is grpc.StatusCode.UNAVAILABLE and "failed to connect to all addresses" in text:
        return Way("not_accepted")
    return Way("unavailable", f"{code.name}: {text}")


def _understood(answer: GetServiceStatusResponse) -> Way:
    skew = (answer.now.ToDatetime(tzinfo=datetime.UTC) - datetime.datetime.now(datetime.UTC)).total_seconds()
    return Way(_WORDS.get(answer.refusal, "open"), skew_s=skew)
