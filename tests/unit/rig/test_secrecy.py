"""The search finds what was planted, in every form a program could leave it in."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from jpkireset.gateway.v1.reset_service_pb2 import NewPassword, ResetPasswordRequest, UserPin

from tests.rig.secrecy import Planted

PASSWORD = "Q7RSTUVWXYZABCD1"
PIN = "8351"
PASSWORD_REQUEST = ResetPasswordRequest(view_number=3, new_password=NewPassword(new_password=PASSWORD.encode()))
PIN_REQUEST = ResetPasswordRequest(view_number=2, user_pin=UserPin(user_pin=PIN.encode()))
VERIFY = bytes.fromhex("0020008004") + PIN.encode()


def found(tmp_path: Path, content: bytes) -> list[str]:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(b"before " + content + b" after")
    return Planted([PASSWORD], [PIN]).found(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        PASSWORD.encode(),
        PASSWORD.lower().encode(),
        PASSWORD.encode("utf-16-le"),
        PASSWORD.encode().hex().encode(),
        PASSWORD.encode().hex(" ").upper().encode(),
        str(list(PASSWORD.encode())).encode(),
        str([hex(byte) for byte in PASSWORD.encode()]).replace("'", "").encode(),
        *(base64.b64encode(b"x" * shift + PASSWORD.encode() + b"yz") for shift in range(3)),
        PASSWORD_REQUEST.SerializeToString(),
        str(PASSWORD_REQUEST).encode(),
        PIN_REQUEST.SerializeToString(),
        json.dumps({"pin": PIN}).encode(),
        repr({"pin": PIN}).encode(),
        repr(PIN.encode()).encode(),
        str(PIN_REQUEST).encode(),
        VERIFY,
        VERIFY.hex().upper().encode(),
        VERIFY.hex(" ").encode(),
        str(list(VERIFY)).encode(),
    ],
)
def test_planted_secret_is_found(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path, content)


@pytest.mark.parametrize("content", [b"", b"8351", b"port 83510", b"0020008004[4]", PASSWORD[:8].encode()])
def test_nothing_is_found_where_there_is_none(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path, content) == []


def test_the_cards_own_memory_is_excepted(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/locked.json").write_text(PASSWORD)
    assert Planted([PASSWORD]).found(tmp_path) == []


def test_texts_are_searched_like_files(tmp_path: Path) -> None:
    assert Planted([PASSWORD]).found(tmp_path, {"metrics": f"x {PASSWORD}"}) == ["metrics (form 0)"]
