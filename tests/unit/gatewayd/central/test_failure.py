"""Each way not to reach the centre, for real: grpc tells most of them apart in its text only."""

from __future__ import annotations

import contextlib
import datetime
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from gatewayd.central.channel import Channel
from gatewayd.central.failure import word_for
from gatewayd.central.identity import read_identity
from gatewayd.central.port import ABSENT
from gatewayd.central.settings import CentralSettings
from gatewayd.errors import CentralUnavailable
from tests.fakes.pki import Pki, make_pki

PAST = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("expired"), not_after=PAST)


@contextlib.asynccontextmanager
async def serving(pki: Pki, clients: Path | None) -> AsyncIterator[int]:
    """A server without any method; without TLS when it knows no clients' authority."""
    server = grpc.aio.server()
    if clients is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (pki.server_key.read_bytes(), pki.server.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], clients.read_bytes(), require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port
    await server.stop(None)


async def word(address: str, kiosk: Pki, authority: Path, server_name: str = "") -> str:
    """Return why a call fails."""
    settings = CentralSettings(address, kiosk.kiosk, kiosk.kiosk_key, authority, server_name)
    channel = Channel(settings, read_identity(settings))
    try:
        await channel.prove()
    except CentralUnavailable as error:
        return error.detail
    finally:
        await channel.close(None)
    return ""


async def test_no_address(pki: Pki) -> None:
    assert await word("no-such-name.invalid:443", pki, pki.authority) == "dns"


async def test_nobody_listens(pki: Pki) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert await word(f"127.0.0.1:{reserved.getsockname()[1]}", pki, pki.authority) == "refused"


async def test_somebody_listens_and_says_nothing(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert await word(f"127.0.0.1:{silent.getsockname()[1]}", pki, pki.authority) == "deadline"


async def test_certificates_that_one_side_does_not_accept(pki: Pki, other: Pki, expired: Pki) -> None:
    async with serving(pki, pki.authority) as port:
        address = f"127.0.0.1:{port}"
        assert await word(address, pki, pki.authority) == "internal", "connected: it has no such method"
        assert await word(address, pki, other.authority) == "tls", "a centre of another authority"
        assert await word(address, pki, pki.authority, "elsewhere") == "tls", "a centre of another name"
        assert await word(address, other, pki.authority) == "tls", "a foreign kiosk"
    async with serving(expired, pki.authority) as port:
        assert await word(f"127.0.0.1:{port}", pki, expired.authority) == "tls", "the centre's has expired"
    async with serving(pki, expired.authority) as port:
        assert await word(f"127.0.0.1:{port}", expired, pki.authority) == "tls", "the kiosk's has expired"
    async with serving(pki, None) as port:
        assert await word(f"127.0.0.1:{port}", pki, pki.authority) == "tls", "no TLS at all"


@pytest.mark.parametrize(
    ("code", "text", "word"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; … No route to host", "unreachable"),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; … in words not known yet", "unavailable"),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", "unavailable"),
        (grpc.StatusCode.UNAVAILABLE, None, "unavailable"),
        (grpc.StatusCode.PERMISSION_DENIED, "Connection refused", "denied"),
    ],
)
def test_texts(code: grpc.StatusCode, text: str | None, word: str) -> None:
    nothing = grpc.aio.Metadata()
    assert word_for(grpc.aio.AioRpcError(code, nothing, nothing, details=text)) == word


def test_words_of_absence() -> None:
    assert {"denied", "internal", "malformed"}.isdisjoint(ABSENT)
