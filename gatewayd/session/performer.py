"""Carries out the dialogue's effects, one method each, and turns what comes of them into the next event.

Holds everything an attempt must not show: the certificate that identifies its card, PIN, password, session keys.
Nothing here decides what follows; that is the table's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from gatewayd.card import jpki
from gatewayd.card.link import observed
from gatewayd.card.values import (
    CardFacts,
    ChannelKeys,
    ChannelOffered,
    DifferentCard,
    PinAccepted,
    PinLocked,
    PinWrong,
    Unfit,
    WriteAccepted,
    WriteNotSent,
    WriteRefused,
    WriteResult,
    WriteUnknown,
)
from gatewayd.central.port import Authorization, Begun, CentralPort, Refusal, Refused, Reservation, Verdict
from gatewayd.clock import Clock
from gatewayd.dialogue import events as ev
from gatewayd.dialogue.effects import Effect
from gatewayd.dialogue.facts import Facts
from gatewayd.dialogue.vocabulary import Outcome, Reason
from gatewayd.errors import (
    CardAbsent,
    CardProtocolError,
    CentralUnavailable,
    DeadlineExceeded,
    JournalUnavailable,
    LinkEnded,
    LinkError,
    TransmitFailed,
)
from gatewayd.journal.port import JournalPort, OutboxItem
from gatewayd.metrics import Metrics
from gatewayd.reader.port import Connection, Job, Link, ReaderPort
from gatewayd.secret import Secret
from gatewayd.session.outbox import Outbox

T = TypeVar("T")

JOB_BUDGET_S = 20.0  # one uninterrupted piece of work on the card
FULL_COUNTER = 5  # tries of the signing password after a reset (EF 001B)
CLOSE_LIMIT_S = 2.0  # a mute card is not waited for

log = logging.getLogger(__name__)

# What a citizen is told of a centre's no. The rest is told as it is named.
_REASONS = {
    Refusal.CERTIFICATE_NOT_TRUSTED: Reason.CARD_NOT_GENUINE,
    Refusal.SIGNATURE_INVALID: Reason.CARD_NOT_GENUINE,
    Refusal.ATTEMPT_EXPIRED: Reason.TIMED_OUT,
    Refusal.SUPERSEDED: Reason.CANCELLED,
}


def reason_of(refusal: Refusal) -> Reason:
    """Return what a citizen is told of a centre's no."""
    return _REASONS.get(refusal) or Reason[refusal.name]


class Performer:
    """Does what one attempt's dialogue asks for."""

    def __init__(
        self,
        attempt_id: str,
        *,
        admit: Callable[[], Awaitable[Reason | None]],
        reader: ReaderPort,
        central: CentralPort,
        journal: JournalPort,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], object],
        late_receipt: Callable[[], None],
    ) -> None:
        self._attempt_id = attempt_id
        self._admit = admit
        self._reader = reader
        self._central = central
        self._journal = journal
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._spawn = spawn
        self._late_receipt = late_receipt
        self._connection: Connection | None = None
        self._told_central = False
        self._certificate = b""
        self._statement = b""
        self._signature = b""
        self._reservation: Reservation | None = None
        self._offer: ChannelOffered | None = None
        self._keys: ChannelKeys | None = None
        self._report: OutboxItem | None = None
        self.pin: Secret | None = None
        self.password: Secret | None = None

    async def at_once(self, effect: Effect, facts: Facts) -> None:
        """Do an effect that has no result."""
        match effect:
            case Effect.WIPE_PIN:
                self._wipe_pin()
            case Effect.WIPE_SECRETS:
                self.wipe()
            case Effect.END_CONNECTION:
                await self._end_connection()
            case Effect.RECORD_OUTCOME:
                await self._record_outcome(facts)
            case _:
                raise AssertionError(f"{effect} has a result")

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
        except (TransmitFailed, CardAbsent, LinkEnded) as error:
            log.info("card torn", extra={"cause": type(error).__name__})
            return ev.PinTorn() if effect in (Effect.VERIFY_PIN, Effect.RECOUNT) else ev.Torn()
        except (DeadlineExceeded, CardProtocolError) as error:
            log.warning("card unreadable", extra={"cause": str(error)})
            return ev.Failed(Reason.CARD_UNREADABLE)
        except LinkError as error:
            log.warning("reader unavailable", extra={"cause": type(error).__name__})
            return ev.Failed(Reason.READER_UNAVAILABLE)

    # --- before the change ------------------------------------------------------------------------------------------

    async def do_admit(self, _: Facts) -> ev.Event:
        """Ask whether the attempt may begin."""
        reason = await self._admit()
        return ev.Admitted() if reason is None else ev.Failed(reason)

    async def do_read_card(self, _: Facts) -> ev.Event:
        """Read the card for the first time: its certificate is its identity from here on."""
        value = await self._on_card(jpki.read_card)
        if isinstance(value, Unfit):
            if value is Unfit.USER_PIN_LOCKED:
                self._metrics.password_locked("user_pin")
            return ev.Failed(Reason[value.name])
        return self._card_read(value)

    def _card_read(self, card: CardFacts) -> ev.Event:
        self._certificate = card.user_certificate
        if card.signing_password_tries == 0:
            self._metrics.password_locked("signing_password")
        return ev.TriesRead(card.user_pin_tries)

    async def do_begin(self, _: Facts) -> ev.Event:
        """Tell the centre of the attempt, durably known here before, and fetch what the card is to sign."""
        await self._journal.begun(self._attempt_id)
        self._told_central = True
        answer = await self._central.begin_attempt(self._attempt_id)
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
            value = await self._on_card(
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
                    self._metrics.password_locked("user_pin")
                    return ev.PinLocked()
                case DifferentCard():
                    result = ""
                    return ev.CardDifferent()
        finally:
            if result:
                self._metrics.pin_verified(result)

    async def do_recount(self, _: Facts) -> ev.Event:
        """Find the same card again and read its tries; sends nothing that counts."""
        certificate = self._certificate
        tries = await self._on_card(lambda link: jpki.recount(link, certificate=certificate))
        if isinstance(tries, DifferentCard):
            return ev.CardDifferent()
        return ev.TriesRead(tries) if tries else ev.PinLocked()

    async def do_check_reservation(self, _: Facts) -> ev.Event:
        """Show the centre the card's certificate and signature."""
        answer = await self._central.check_reservation(self._attempt_id, self._certificate, self._signature)
        if isinstance(answer, Refused):
            return ev.Failed(reason_of(answer.why))
        if answer.in_doubt:
            await self._journal.doubted(self._attempt_id)
        self._reservation = answer
        return ev.ReservationGranted(answer.expires_at, answer.in_doubt)

    # --- the change -------------------------------------------------------------------------------------------------

    async def do_offer_channel(self, facts: Facts) -> ev.Event:
        """Let the same card begin a secure channel, and keep the connection for the change."""
        reservation, certificate = self._reservation, self._certificate
        assert reservation is not None
        challenge = reservation.host_challenges[facts.writes]
        self._connection = self._reader.connection()
        value = await self._connection.run(
            self._job(
                lambda link: jpki.offer_channel(
                    link, certificate=certificate, key_version=reservation.key_version, host_challenge=challenge
                )
            ),
            budget_s=JOB_BUDGET_S,
        )
        if isinstance(value, DifferentCard):
            await self._end_connection()
            return ev.CardDifferent()
        self._offer = value
        return ev.ChannelOffered()

    async def do_authorize(self, facts: Facts) -> ev.Event:
        """Ask the centre for the write; nothing is sent to the card meanwhile."""
        assert self._offer is not None
        await self._journal.authorizing(self._attempt_id, facts.writes)
        answer = await self._central.authorize_reset(self._attempt_id, facts.writes, self._offer.answer)
        if isinstance(answer, Refused):
            return ev.Failed(reason_of(answer.why))
        return self._authorized(answer)

    def _authorized(self, answer: Authorization) -> ev.Event:
        self._keys = ChannelKeys(answer.external_authenticate, answer.s_enc, answer.s_mac)
        return ev.Authorized()

    async def do_write(self, facts: Facts) -> ev.Event:
        """Change the card: intent durable before, result durable before it is told."""
        n = facts.writes
        try:
            await self._journal.intend(self._attempt_id, n)
        except JournalUnavailable:
            log.exception("intent not durable; nothing was sent to the card")
            await self._take_back_intent(n)
            return ev.IntentFailed()
        result = await self._write(n)
        log.info("write ended", extra={"n": n, "result": type(result).__name__})
        try:
            self._report = await self._record(n, result)
        except JournalUnavailable:
            log.exception("result not durable")
            return ev.ResultNotDurable()
        self._wipe_keys()
        match result:
            case WriteAccepted(signing_password_tries=tries):
                return ev.WriteAccepted(counter_agrees=tries in (FULL_COUNTER, None))
            case WriteRefused():
                return ev.WriteRefused()
            case WriteNotSent():
                return ev.WriteNotSent()
            case WriteUnknown():
                return ev.WriteUnknown()

    async def _take_back_intent(self, n: int) -> None:
        """Say that nothing was sent, in case the intent became durable after all; else a restart says unknown."""
        with contextlib.suppress(JournalUnavailable):
            await self._journal.result(self._attempt_id, n, "not_done")

    async def _write(self, n: int) -> WriteResult:
        """Hand the change to the card. Whatever goes wrong in the middle is unknown, never a guess."""
        connection, keys, password = self._connection, self._keys, self.password
        assert connection is not None
        assert keys is not None
        assert password is not None

        def late(result: WriteResult) -> None:
            self._spawn(self._record_late(n, result))

        try:
            return await connection.run(
                self._job(lambda link: jpki.write_password(link, keys=keys, password=password)),
                budget_s=JOB_BUDGET_S,
                last=True,
                late=late,
            )
        except LinkEnded:
            return WriteNotSent()  # the connection was void before the job began
        except Exception:
            log.exception("write failed in the middle")
            return WriteUnknown()

    async def _record(self, n: int, result: WriteResult) -> OutboxItem:
        match result:
            case WriteAccepted(chaining_value, r_mac):
                return await self._journal.result(
                    self._attempt_id, n, "done", chaining_value=chaining_value, r_mac=r_mac
                )
            case WriteRefused(status_word):
                return await self._journal.result(self._attempt_id, n, "not_done", status_word=status_word)
            case WriteNotSent():
                return await self._journal.result(self._attempt_id, n, "not_done")
            case WriteUnknown():
                return await self._journal.result(self._attempt_id, n, "unknown")

    async def _record_late(self, n: int, result: WriteResult) -> None:
        """Keep the card's late answer to the RESET RETRY COUNTER; all writes of an attempt set the same password."""
        if isinstance(result, WriteUnknown):
            return
        report = await self._record(n, result)
        if isinstance(result, WriteAccepted):
            self._report = report
            self._late_receipt()
        self._outbox.poke()

    async def do_deliver_report(self, _: Facts) -> ev.Event:
        """Let the centre judge the card's receipt."""
        assert self._report is not None
        acknowledged = await self._outbox.deliver(self._report)
        if acknowledged is None or acknowledged.verdict is Verdict.NONE:
            return ev.CentralSilent()
        return ev.ReceiptValid() if acknowledged.verdict is Verdict.VALID else ev.ReceiptInvalid()

    # --- the tail ---------------------------------------------------------------------------------------------------

    async def _end_connection(self) -> None:
        self._wipe_keys()
        self._offer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await connection.close()
            except TimeoutError:
                log.warning("the card does not let go of the reader")

    async def _record_outcome(self, facts: Facts) -> None:
        assert facts.outcome is not None
        release = self._told_central and facts.outcome is not Outcome.DONE and not facts.write_unknown
        reason = facts.reason.name.lower() if facts.reason else None
        try:
            await self._journal.finish(self._attempt_id, facts.outcome.name.lower(), reason, release=release)
        except (JournalUnavailable, ValueError):  # ValueError: the journal knows of a write that contradicts it
            log.exception("outcome not durable; a restart closes the attempt from what is")
        self._outbox.poke()

    def _wipe_pin(self) -> None:
        if self.pin is not None:
            self.pin.wipe()
            self.pin = None

    def _wipe_keys(self) -> None:
        if self._keys is not None:
            self._keys.s_enc.wipe()
            self._keys.s_mac.wipe()
            self._keys = None

    def wipe(self) -> None:
        """Wipe every secret of the attempt; harmless when repeated."""
        self._wipe_pin()
        self._wipe_keys()
        if self.password is not None:
            self.password.wipe()
            self.password = None

    # --- the card ---------------------------------------------------------------------------------------------------

    async def _on_card(self, job: Job[T]) -> T:
        """Run one job on a connection of its own."""
        self._connection = self._reader.connection()
        try:
            return await self._connection.run(self._job(job), budget_s=JOB_BUDGET_S, last=True)
        finally:
            self._connection = None

    def _job(self, job: Job[T]) -> Job[T]:
        def run(link: Link) -> T:
            return job(observed(link, self._observe, self._clock.monotonic))

        return run

    def _observe(
        self, command: str, seconds: float, header: str, sent: int, received: int, status_word: int | None
    ) -> None:
        """Runs on the reader's thread: what may be known of an exchange, never its content."""
        self._metrics.apdu(command, seconds)
        shown = "none" if status_word is None else f"{status_word:04X}"
        log.debug("apdu", extra={"header": header, "sent": sent, "received": received, "status": shown})


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
