from __future__ import annotations

import copy
import json
import pickle

import pytest

from gatewayd.card.apdu import Command, Response
from gatewayd.card.scp03 import Wrapped
from gatewayd.card.values import CardFacts, ChannelKeys, PinAccepted, WriteAccepted
from gatewayd.central.port import Authorization, Receipt
from gatewayd.journal.port import OutboxItem
from gatewayd.journal.records import Result
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


@pytest.mark.parametrize(
    "value",
    [
        OutboxItem(1, "id", "report", 1, "done", VALUE, VALUE[:8]),
        Result("done", VALUE, VALUE[:8]),
        Receipt(VALUE, VALUE[:8]),
        WriteAccepted(VALUE, VALUE[:8], 5),
        PinAccepted(VALUE),
        CardFacts(VALUE, 3, 5),
        ChannelKeys(b"", Secret(VALUE), Secret(VALUE)),
        Authorization(b"", Secret(VALUE), Secret(VALUE)),
        Command(0, 0x20, 0, 0x98, VALUE),
        Response(VALUE, 0x9000),
        Wrapped(VALUE, VALUE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_text_shows_what_tells_of_citizen_or_password(value: object) -> None:
    assert VALUE.decode()[:8] not in repr(value)


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
