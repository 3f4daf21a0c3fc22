"""A whole reset, with OpenSC, the card's own dump, both ledgers and the metrics as witnesses."""

from __future__ import annotations

import pytest
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE

from tests.rig import metrics
from tests.rig.citizen import Citizen
from tests.rig.front_end import FrontEnd
from tests.rig.opensc import SIGNING_TOKEN, OpenSC, Tries
from tests.rig.stack import Stack

FULL = Tries(user_pin=3, signing_password=5)


@pytest.mark.parametrize(("card", "tries"), [("locked", 0), ("forgotten", 5)])
async def test_reset_gives_the_card_a_new_password(
    stack: Stack, opensc: OpenSC, user_pin: str, new_password: str, card: str, tries: int
) -> None:
    async with FrontEnd(stack.gatewayd.socket) as front:
        await front.ready()
        citizen = Citizen(stack, front, user_pin, card)
        before = citizen.references
        assert before["signing_password"]["tries"] == tries
        citizen.reserve()
        attempt = await citizen.reset(new_password)
        assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
        assert (await front.attempt_record(attempt.id)).outcome == OUTCOME_DONE

    after = citizen.references
    assert after["signing_password"] == {"value": new_password, "tries": 5, "limit": 5}
    assert {**after, "signing_password": None} == {**before, "signing_password": None}
    commands = citizen.commands()
    assert [commands.count(name) for name in ("EXTERNAL AUTHENTICATE", "RESET RETRY COUNTER")] == [1, 1]
    assert citizen.verifications() == 1
    assert [entry["verdict"] for entry in stack.centrald.ledger(attempt.id) if entry["verdict"]] == ["valid"]

    citizen.place(slot="phone")
    assert opensc.tries_left() == FULL
    signature = opensc.sign(SIGNING_TOKEN, 2, new_password, b"data")
    certificate = opensc.certificate(2, new_password)
    assert opensc.verify(certificate, b"data", signature)
    assert not opensc.verify(certificate, b"other data", signature)

    families = metrics.scrape(stack.gatewayd.metrics_url)
    assert [name for name, count in metrics.histograms(families).items() if not count] == []
    assert metrics.value(families, "gatewayd_attempts_total", outcome="done") == 1
    assert metrics.value(families, "gatewayd_reader_lock_held") == 0
