"""Carries out the dialogue's effects and turns what comes of them into the next event.

Holds everything an attempt must not show, but for the change itself (`change`): the certificate that identifies its
card, the PIN, the signature. Nothing here decides what follows; that is the table's business.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from gatewayd.card import jpki
from gatewayd.card.values import CardFacts, DifferentCard, PinAccepted, PinLocked, PinWrong, Unfit
from gatewayd.central.port import Begun, Refused, Reservation
from gatewayd.dialogue import events as ev
from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.facts import Facts
from gatewayd.dialogue.vocabulary import Reason
from gatewayd.errors import (
    CardAbsent,
    CardProtocolError,
    CentralRejected,
    CentralUnavailable,
    DeadlineExceeded,
    JournalUnavailable,
    LinkEnded,
    LinkError,
    TransmitFailed,
)
from gatewayd.secret import Secret
from gatewayd.session.access import CardAccess
from gatewayd.session.change import Change
from gatewayd.session.ports import Ports
from gatewayd.session.reasons import reason_of

log = logging.getLogger(__name__)


class Performer:
    """Does what one attempt's dialogue asks for."""

    def __init__(
        self,
        attempt_id: str,
        ports: Ports,
        *,
        admit: Callable[[], Awaitable[Reason | None]],
        late_receipt: Callable[[], None],
    ) -> None:
        self._attempt_id = attempt_id
        self._ports = ports
        self._admit = admit
        self._access = CardAccess(ports)
        self._certificate = b""
        self._statement = b""
        self._signature = b""
        self._reservation: Reservation | None = None
        self.pin: Secret | None = None
        self.change = Change(attempt_id, ports, self._access, late_receipt)

    async def at_once(self, effect: Effect, facts: Facts) -> ev.OutcomeContradicted | None:
        """Do an effect that has no result to wait for; the outcome alone may meet with an objection."""
        match effect:
            case Effect.WIPE_PIN:
                self._wipe_pin()
            case Effect.WIPE_SECRETS:
                self.wipe()
            case Effect.END_CONNECTION:
                await self.change.end()
            case Effect.RECORD_OUTCOME:
                return await self._record_outcome(facts)
            case _:
                raise AssertionError(f"{effect} has a result")
        return None

    async def result_of(self, effect: Effect, facts: Facts) -> ev.Event:
        """Do an effect that has a result, and return it. Expected failures are events too."""
        try:
            return await _EFFECTS[effect](self, facts)
        except JournalUnavailable:
            log.exception("journal unavailable")
            return ev.Failed(Reason.JOURNAL_UNAVAILABLE)
        except CentralUnavailable as error:
            log.warning("central unavailable", extra={"detail": error.detail})
            return ev.Failed(Reason.CENTRAL_UNAVAILABLE)
        except CentralRejected as error:  # we and the centre do not understand each other, whoever is to blame
            log.exception("call refused by the centre", extra={"code": error.code})
            return ev.Failed(Reason.INTERNAL)
        except (TransmitFailed, CardAbsent, LinkEnded) as error:
            log.info("card torn", extra={"cause": type(error).__name__})
            return ev.PinTorn() if effect in (Effect.VERIFY_PIN, Effect.RECOUNT) else ev.Torn()
        except (DeadlineExceeded, CardProtocolError) as error:
            log.warning("card unreadable", extra={"cause": str(error)})
            return ev.Failed(Reason.CARD_UNREADABLE)
        except LinkError as error:
            log.warning("reader unavailable", extra={"cause": type(error).__name__})
            return ev.Failed(Reason.READER_UNAVAILABLE)

    def wipe(self) -> None:
        """Wipe every secret of the attempt; harmless when repeated."""
        self._wipe_pin()
        self.change.wipe()

    # --- the effects ------------------------------------------------------------------------------------------------

    async def do_admit(self, _: Facts) -> ev.Event:
        """Ask whether the attempt may begin."""
        reason = await self._admit()
        return ev.Admitted() if reason is None else ev.Failed(reason)

    async def do_read_card(self, _: Facts) -> ev.Event:
        """Read the card for the first time: its certificate is its identity from here on."""
        value = await self._access.run(jpki.read_card)
        if isinstance(value, Unfit):
            if value is Unfit.USER_PIN_LOCKED:
                self._ports.metrics.password_locked("user_pin")
            return ev.Failed(Reason[value.name])
        return self._card_read(value)

    def _card_read(self, card: CardFacts) -> ev.Event:
        self._certificate = card.user_certificate
        if card.signing_password_tries == 0:
            self._ports.metrics.password_locked("signing_password")
        return ev.TriesRead(card.user_pin_tries)

    async def do_begin(self, _: Facts) -> ev.Event:
        """Tell the centre of the attempt, durably known here before, and fetch what the card is to sign."""
        await self._ports.journal.begun(self._attempt_id)
        answer = await self._ports.central.begin_attempt(self._attempt_id)
        if isinstance(answer, Refused):
            return ev.Failed(reason_of(answer.why))
        return self._begun(answer)

    def _begun(self, begun: Begun) -> ev.Event:
        self._statement = begun.statement
        return ev.Begun()

    async def do_verify_pin(self, _: Facts) -> ev.Event:
        """Send the one VERIFY that was ordered, and sign when it is right."""
        pin, certificate, statement = self.pin, self._certificate, self._statement
        assert pin is not None
        result = "unknown"
        try:
            value = await self._access.run(
                lambda link: jpki.verify_and_sign(link, certificate=certificate, pin=pin, statement=statement)
            )
            match value:
                case PinAccepted(signature):
                    result = "accepted"
                    self._signature = signature
                    return ev.PinAccepted()
                case PinWrong(tries_left):
                    result = "wrong"
                    return ev.PinWrong(tries_left)
                case PinLocked():
                    result = "locked"
                    self._ports.metrics.password_locked("user_pin")
                    return ev.PinLocked()
                case DifferentCard():
                    result = ""
                    return ev.CardDifferent()
        finally:
            if result:
                self._ports.metrics.pin_verified(result)

    async def do_recount(self, _: Facts) -> ev.Event:
        """Find the same card again and read its tries; sends nothing that counts."""
        certificate = self._certificate
        tries = await self._access.run(lambda link: jpki.recount(link, certificate=certificate))
        if isinstance(tries, DifferentCard):
            return ev.CardDifferent()
        if not tries:  # by the entry whose answer was lost
            self._ports.metrics.password_locked("user_pin")
            return ev.PinLocked()
        return ev.TriesRead(tries)

    async def do_check_reservation(self, _: Facts) -> ev.Event:
        """Show the centre the card's certificate and signature."""
        answer = await self._ports.central.check_reservation(self._attempt_id, self._certificate, self._signature)
        if isinstance(answer, Refused):
            return ev.Failed(reason_of(answer.why))
        if answer.in_doubt:
            try:
                await self._ports.journal.doubted(self._attempt_id)
            except JournalUnavailable:
                log.exception("doubt not durable")
                return ev.Failed(Reason.JOURNAL_UNAVAILABLE, in_doubt=True)
        self._reservation = answer
        return ev.ReservationGranted(answer.expires_at, answer.in_doubt)

    async def do_offer_channel(self, facts: Facts) -> ev.Event:
        """Begin the channel of the next write."""
        assert self._reservation is not None
        return await self.change.offer_channel(facts.writes + 1, self._certificate, self._reservation)

    async def do_authorize(self, facts: Facts) -> ev.Event:
        """Ask the centre for the write."""
        return await self.change.authorize(facts.writes)

    async def do_write(self, facts: Facts) -> ev.Event:
        """Change the card."""
        return await self.change.write(facts.writes)

    async def do_deliver_report(self, _: Facts) -> ev.Event:
        """Let the centre judge the receipt."""
        return await self.change.deliver_report()

    # --- the tail ---------------------------------------------------------------------------------------------------

    async def _record_outcome(self, facts: Facts) -> ev.OutcomeContradicted | None:
        assert facts.outcome is not None
        reason = facts.reason.name.lower() if facts.reason else None
        try:
            await self._ports.outbox.finish(self._attempt_id, facts.outcome.name.lower(), reason)
        except ValueError:
            log.exception("the journal contradicts the outcome", extra={"outcome": facts.outcome.name.lower()})
            return ev.OutcomeContradicted()
        return None

    def _wipe_pin(self) -> None:
        if self.pin is not None:
            self.pin.wipe()
            self.pin = None


_EFFECTS: dict[Effect, Callable[[Performer, Facts], Awaitable[ev.Event]]] = {
    Effect.ADMIT: Performer.do_admit,
    Effect.READ_CARD: Performer.do_read_card,
    Effect.BEGIN: Performer.do_begin,
    Effect.VERIFY_PIN: Performer.do_verify_pin,
    Effect.RECOUNT: Performer.do_recount,
    Effect.CHECK_RESERVATION: Performer.do_check_reservation,
    Effect.OFFER_CHANNEL: Performer.do_offer_channel,
    Effect.AUTHORIZE: Performer.do_authorize,
    Effect.WRITE: Performer.do_write,
    Effect.DELIVER_REPORT: Performer.do_deliver_report,
}
