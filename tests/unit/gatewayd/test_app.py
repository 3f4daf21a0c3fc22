"""The lock beside each socket: gRPC would take a live socket over without a word."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gatewayd.app import only_instance
from gatewayd.errors import ConfigError


@pytest.mark.parametrize("section", ["api", "operators"])
def test_a_socket_has_one_daemon_at_a_time(tmp_path: Path, section: str) -> None:
    socket = tmp_path / "the.sock"
    with only_instance(socket, section):
        assert stat.S_IMODE((tmp_path / "the.sock.lock").stat().st_mode) == 0o600
        with (
            pytest.raises(ConfigError, match=rf"another gatewayd.*`\$\.{section}\.socket`"),
            only_instance(socket, section),
        ):
            pass
        with only_instance(tmp_path / "another.sock", section):
            pass
    with only_instance(socket, section):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"No such file.*`\$\.operators\.socket`"),
        only_instance(tmp_path / "missing" / "the.sock", "operators"),
    ):
        pass
