"""A citizen with a card, at home and at the kiosk: what the system tests let a person do."""

from __future__ import annotations

from typing import Any

from jpkireset.gateway.v1.reset_service_pb2 import View

from tests.rig import front_end
from tests.rig.front_end import Attempt, FrontEnd
from tests.rig.phone import reserve_from_file
from tests.rig.site import LOCKED
from tests.rig.stack import Stack

KIOSK, PHONE = "kiosk", "phone"


class Citizen:
    """One card, its PIN, and the front-end of the kiosk. Each step waits for the view that asks for the next."""

    def __init__(self, stack: Stack, front: FrontEnd, user_pin: str, card: str = LOCKED, *, slot: str = KIOSK) -> None:
        """Take the slot of the kiosk's reader."""
        self.stack = stack
        self.front = front
        self.user_pin = user_pin
        self.card = card
        self.slot = slot
        self.arrived = stack.cardsim.position()  # the ledger's newest entry before

    def reserve(self) -> str:
        """Reserve at home and return the reservation's id. Raises NotReserved when the centre refuses."""
        stack = self.stack
        card = stack.site.cards / f"{self.card}.json"
        return reserve_from_file(card, stack.centrald.phone_address, stack.centrald.authority)

    def place(self, card: str | None = None, slot: str | None = None) -> None:
        """Put the card, or another one, on the kiosk's reader, or another one."""
        self.stack.cardsim.insert(card or self.card, slot or self.slot)

    def lift(self, slot: str | None = None) -> None:
        """Take the card from the kiosk's reader, or another one."""
        self.stack.cardsim.remove(slot or self.slot)

    async def lift_seen(self, attempt: Attempt) -> View:
        """Take the card, and wait until the kiosk has noticed."""
        self.lift()
        return await attempt.until_view(lambda view: view.card_request == front_end.PLACE_SAME)

    async def agree(self) -> Attempt:
        """Accept the terms; the card is asked for."""
        attempt = await self.front.attempt()
        await attempt.until(front_end.WAITING_FOR_CARD)
        return attempt

    async def to_pin(self) -> Attempt:
        """Place the card; the PIN is asked for."""
        attempt = await self.agree()
        self.place()
        await attempt.until(front_end.ENTER_USER_PIN)
        return attempt

    async def to_password(self) -> Attempt:
        """Enter the right PIN; the new password is asked for."""
        attempt = await self.to_pin()
        await attempt.user_pin(self.user_pin)
        await attempt.until(front_end.ENTER_NEW_PASSWORD)
        return attempt

    async def reset(self, password: str) -> Attempt:
        """Go through a whole reset, until the card may be taken."""
        attempt = await self.to_password()
        await attempt.new_password(password)
        await attempt.until(front_end.REMOVE_CARD)
        return attempt

    async def leave(self, attempt: Attempt) -> View:
        """Take the card and return the attempt's last view."""
        self.lift()
        return await attempt.end()

    @property
    def card_placed(self) -> bool:
        """Whether any card lies on the kiosk's reader."""
        return any(shown["slot"] == KIOSK for shown in self.stack.cardsim.show_all())

    # --- what the card says -----------------------------------------------------------------------------------------

    @property
    def references(self) -> dict[str, dict[str, Any]]:
        """The card's secrets by name, each with value, tries and limit."""
        shown: dict[str, dict[str, Any]] = self.stack.cardsim.show(self.card)["references"]
        return shown

    def tries_left(self, name: str = "user_pin") -> int:
        """Tries left of one of the card's secrets."""
        return int(self.references[name]["tries"])

    def commands(self) -> list[str]:
        """The commands that all cards were sent since this citizen came, oldest first."""
        return self.stack.cardsim.commands(self.arrived)

    def verifications(self) -> int:
        """The VERIFY commands that carried a value, on all cards, since this citizen came."""
        entries = self.stack.cardsim.entries(self.arrived)
        return sum("[" in entry["apdu"] for entry in entries if entry.get("command") == "VERIFY")
