from __future__ import annotations

import copy
import json
import pickle

import pytest

from gatewayd.secret import Secret

VALUE = b"PLANTED9SECRET77"


def test_a_secret_has_no_readable_form() -> None:
    secret = Secret(VALUE)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", json.dumps([secret], default=str)):
        assert VALUE.decode() not in text
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied(copying) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError):
        copying(Secret(VALUE))


def test_a_secret_is_not_compared_or_hashed() -> None:
    with pytest.raises(TypeError):
        _ = Secret(VALUE) == Secret(VALUE)
    with pytest.raises(TypeError):
        hash(Secret(VALUE))


def test_a_wiped_secret_is_gone() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    kept = secret._value
    secret.wipe()
    secret.wipe()
    assert not kept
    with pytest.raises(ValueError, match="wiped"):
        secret.reveal()
