"""Cards people bring, through the whole stack: some are no card for this, and some only look so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jpkireset.gateway.v1 import reason_pb2 as reasons
from jpkireset.gateway.v1.reset_service_pb2 import OUTCOME_DONE, OUTCOME_NOT_DONE

from jpki_phone.problems import NotReserved
from tests.rig.citizen import Citizen
from tests.rig.front_end import ENTER_NEW_PASSWORD, ENTER_USER_PIN, REMOVE_CARD
from tests.rig.site import Site
from tests.rig.stack import Stack

NO_CARD_FOR_THIS = ("foreign", "old-juki-card", "smartphone-token")
REVOKED = ("revoked-signing", "revoked-user")
AS_GOOD_AS_ANY = ("last-try", "other-person", "slow")
PATIENCE = 40.0  # for a slow card


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stack]:
    """The whole stack, with a card of each of these personas."""
    site.add(*NO_CARD_FOR_THIS, *REVOKED, *AS_GOOD_AS_ANY)
    with Stack(tmp_path_factory.mktemp("personas") / "stack", site=site, log_level="debug") as running:
        yield running


@pytest.mark.parametrize("persona", NO_CARD_FOR_THIS)
async def test_what_is_not_a_my_number_card_is_given_back_untouched(citizen: Citizen, persona: str) -> None:
    attempt = await citizen.agree()
    citizen.place(persona)
    await attempt.until(REMOVE_CARD)
    view = await citizen.leave(attempt)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_NOT_A_MY_NUMBER_CARD)
    assert citizen.verifications() == 0


@pytest.mark.parametrize("persona", REVOKED)
async def test_a_revoked_certificate_is_refused_at_home_and_at_the_kiosk(citizen: Citizen, persona: str) -> None:
    citizen.card = persona
    with pytest.raises(NotReserved, match="revoked"):
        citizen.reserve()
    attempt = await citizen.to_pin()
    await attempt.user_pin(citizen.user_pin)
    await attempt.until(REMOVE_CARD)
    view = await citizen.leave(attempt)
    assert (view.outcome, view.reason) == (OUTCOME_NOT_DONE, reasons.REASON_CERTIFICATE_REVOKED)


@pytest.mark.parametrize("persona", AS_GOOD_AS_ANY)
async def test_cards_that_are_reset_all_the_same(citizen: Citizen, persona: str, new_password: str) -> None:
    citizen.card = persona
    citizen.reserve()
    attempt = await citizen.agree()
    citizen.place()
    await attempt.until(ENTER_USER_PIN, seconds=PATIENCE)
    await attempt.user_pin(citizen.user_pin, last_try_confirmed=persona == "last-try")
    await attempt.until(ENTER_NEW_PASSWORD, seconds=PATIENCE)
    await attempt.new_password(new_password)
    assert (await attempt.until(REMOVE_CARD, seconds=PATIENCE)).outcome == OUTCOME_DONE
    assert (await citizen.leave(attempt)).outcome == OUTCOME_DONE
    assert citizen.references["signing_password"] == {"value": new_password, "tries": 5, "limit": 5}
    assert citizen.verifications() == 1
