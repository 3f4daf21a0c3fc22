from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from gatewayd.notify import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_reaches_the_manager(monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="n") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = Path(folder) / "s"
        manager.bind(f"\0{path}" if abstract else str(path))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else str(path))
        notify("READY=1", "STATUS=ready")
        assert manager.recv(100) == b"READY=1\nSTATUS=ready"


def test_a_manager_that_is_gone_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("WATCHDOG=1")
    assert [record.message for record in caplog.records] == [
        "the service manager cannot be told: No such file or directory"
    ]


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
