"""Scrapes: from this machine plainly, from elsewhere only with a certificate of the right authority."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from gatewayd.config import MetricsAddress
from gatewayd.errors import ConfigError
from gatewayd.scrapes import MOST_SCRAPES, Scrapes
from tests.fakes.pki import Pki, make_pki

SECONDS = 5.0


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("gatewayd_answer", "A figure.", registry=registry).set(42)
    return registry


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make_pki(tmp_path)


@contextlib.contextmanager
def serving(registry: CollectorRegistry, pki: Pki | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    config = MetricsAddress(address=f"{host}:0")
    if pki is not None:
        config = MetricsAddress(f"{host}:0", str(pki.server), str(pki.server_key), str(pki.authority))
    scrapes = Scrapes(registry, config, Path())
    try:
        yield scrapes.address
    finally:
        scrapes.close()


def scrape(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(url, timeout=SECONDS, context=context) as answer:
        text: bytes = answer.read()
    return text.decode()


def client(pki: Pki, certificates_of: Pki | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki.authority)
    if certificates_of is not None:
        context.load_cert_chain(certificates_of.kiosk, certificates_of.kiosk_key)
    return context


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_this_machine_is_served_plainly(registry: CollectorRegistry, host: str) -> None:
    with serving(registry, host=host) as address:
        assert "gatewayd_answer 42.0" in scrape(f"http://{address}/metrics")


def test_who_has_a_certificate_is_served(registry: CollectorRegistry, pki: Pki) -> None:
    with serving(registry, pki) as address:
        assert "gatewayd_answer 42.0" in scrape(f"https://{address}/metrics", client(pki, pki))


def test_nobody_else_is(
    registry: CollectorRegistry, pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    stranger = make_pki(tmp_path / "other")
    with serving(registry, pki) as address:
        for certificates in (None, stranger):
            with pytest.raises(OSError, match=r"alert|closed|reset|EOF|pipe"):
                scrape(f"https://{address}/metrics", client(pki, certificates))
        with pytest.raises(OSError):  # noqa: PT011 - whatever the connection dies of
            scrape(f"http://{address}/metrics")
    assert capsys.readouterr().err == ""


def test_who_says_nothing_keeps_nobody_waiting(registry: CollectorRegistry, pki: Pki) -> None:
    with serving(registry, pki) as address:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))):
            assert "gatewayd_answer 42.0" in scrape(f"https://{address}/metrics", client(pki, pki))


def test_a_crowd_that_says_nothing_takes_no_more_threads_than_it_is_given(registry: CollectorRegistry) -> None:
    """The unit bounds the daemon's threads, and every local user reaches this address."""
    before = threading.active_count()
    with serving(registry) as address, contextlib.ExitStack() as crowd:
        host, _, port = address.rpartition(":")
        callers = [
            crowd.enter_context(socket.create_connection((host, int(port)), timeout=SECONDS))
            for _ in range(2 * MOST_SCRAPES)
        ]
        assert [caller.recv(1) for caller in callers[MOST_SCRAPES:]] == [b""] * MOST_SCRAPES, "nobody turns them away"
        assert threading.active_count() <= before + 1 + MOST_SCRAPES
        for caller in callers[:MOST_SCRAPES]:
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(1) == b""
        assert "gatewayd_answer 42.0" in scrape(f"http://{address}/metrics")


def test_what_cannot_be_served_is_said(registry: CollectorRegistry, pki: Pki) -> None:
    with serving(registry) as address, pytest.raises(ConfigError, match=r"in use - at `\$\.metrics\.address`"):
        Scrapes(registry, MetricsAddress(address), Path())
    unfit = MetricsAddress("127.0.0.1:0", str(pki.server), str(pki.kiosk_key), str(pki.authority))
    with pytest.raises(ConfigError, match=r"certificates.* - at `\$\.metrics`"):
        Scrapes(registry, unfit, Path())
