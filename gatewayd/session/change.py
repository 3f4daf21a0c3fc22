"""The change of the card: offer a channel, have it authorised, write, and let the centre judge the receipt.

Intent is durable before the EXTERNAL AUTHENTICATE, the result together with its report before anybody is told. What
goes wrong in the middle is unknown, never a guess.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

from gatewayd.card import jpki
from gatewayd.card.values import (
    ChannelKeys,
    ChannelOffered,
    DifferentCard,
    WriteAccepted,
    WriteNotSent,
    WriteRefused,
    WriteResult,
    WriteUnknown,
)
from gatewayd.central.port import MALFORMED, Authorization, Refusal, Refused, Reservation, Verdict
from gatewayd.dialogue import events as ev
from gatewayd.errors import CentralUnavailable, JournalUnavailable, LinkEnded
from gatewayd.journal.port import OutboxItem
from gatewayd.secret import Secret
from gatewayd.session.access import CardAccess
from gatewayd.session.ports import Ports
from gatewayd.session.reasons import reason_of

FULL_COUNTER = 5  # tries of the signing password after a reset (EF 001B)

log = logging.getLogger(__name__)


class Change:
    """The writes of one attempt, at most three; all of them set the same password."""

    def __init__(self, attempt_id: str, ports: Ports, access: CardAccess, late_receipt: Callable[[], None]) -> None:
        self._attempt_id = attempt_id
        self._ports = ports
        self._access = access
        self._late_receipt = late_receipt
        self._offer: ChannelOffered | None = None
        self._keys: ChannelKeys | None = None
        self._receipt: OutboxItem | None = None  # the report of the latest write that the card said it had done
        self.password: Secret | None = None

    async def offer_channel(self, n: int, certificate: bytes, reservation: Reservation) -> ev.Event:
        """Let the same card begin the channel of write `n`, and keep the connection for the change.

        That `n` will be asked for is durable when this returns.
        """
        entered = asyncio.create_task(self._ports.journal.authorizing(self._attempt_id, n))  # while the card works
        try:
            value = await self._access.begin(
                lambda link: jpki.offer_channel(
                    link,
                    certificate=certificate,
                    key_version=reservation.key_version,
                    host_challenge=reservation.host_challenges[n - 1],
                )
            )
        finally:
            await entered
        if isinstance(value, DifferentCard):
            await self._access.end()
            return ev.CardDifferent()
        self._offer = value
        return ev.ChannelOffered()

    async def authorize(self, n: int) -> ev.Event:
        """Ask the centre for write `n`; nothing is sent to the card meanwhile."""
        assert self._offer is not None
        answer = await self._ports.central.authorize_reset(self._attempt_id, n, self._offer.answer)
        if isinstance(answer, Refused):
            if answer.why is Refusal.RESERVATION_USED and self._receipt is not None:
                return ev.ReservationUsed()
            return ev.Failed(reason_of(answer.why))
        return self._authorized(answer)

    def _authorized(self, answer: Authorization) -> ev.Event:
        """Keep the keys, if they open a channel at all: else the card would be blamed, and asked for three times."""
        assert self.password is not None
        self._keys = ChannelKeys(answer.external_authenticate, answer.s_enc, answer.s_mac)
        try:
            jpki.wrap_password(self._keys, self.password)
        except ValueError:
            raise CentralUnavailable(MALFORMED) from None
        return ev.Authorized()

    async def write(self, n: int) -> ev.Event:
        """Change the card: intent durable before, result durable before it is told."""
        try:
            await self._ports.journal.intend(self._attempt_id, n)
        except JournalUnavailable:
            log.exception("intent not durable; nothing was sent to the card")
            await self._take_back_intent(n)
            return ev.IntentFailed()
        result = await self._hand_over(n)
        log.info("write ended", extra={"n": n, "result": type(result).__name__})
        try:
            report = await self._record(n, result)
        except JournalUnavailable:
            log.exception("result not durable; it is entered as soon as it can be")
            self._enter_later(n, result)
            return ev.ResultNotDurable()
        self.wipe_keys()
        if not isinstance(result, WriteAccepted):  # whose report is delivered, and waited for, next
            self._ports.outbox.poke()
        match result:
            case WriteAccepted(signing_password_tries=tries):
                self._receipt = report
                return ev.WriteAccepted(counter_agrees=tries in (FULL_COUNTER, None))
            case WriteRefused():
                return ev.WriteRefused()
            case WriteNotSent():
                return ev.WriteNotSent()
            case WriteUnknown():
                return ev.WriteUnknown()

    async def deliver_report(self) -> ev.Event:
        """Let the centre judge the card's receipt, now; the outbox goes on if it is silent."""
        assert self._receipt is not None
        acknowledged = await self._ports.outbox.deliver(self._receipt)
        if acknowledged is None:
            return ev.CentralSilent()
        return ev.ReceiptValid() if acknowledged.verdict is Verdict.VALID else ev.ReceiptInvalid()

    async def end(self) -> None:
        """End the connection and drop its keys."""
        self.wipe_keys()
        self._offer = None
        await self._access.end()

    def wipe_keys(self) -> None:
        """Wipe the session keys; harmless when repeated."""
        if self._keys is not None:
            self._keys.s_enc.wipe()
            self._keys.s_mac.wipe()
            self._keys = None

    def wipe(self) -> None:
        """Wipe keys and password; harmless when repeated."""
        self.wipe_keys()
        if self.password is not None:
            self.password.wipe()
            self.password = None

    async def _hand_over(self, n: int) -> WriteResult:
        """Hand the change to the card."""
        keys, password = self._keys, self.password
        assert keys is not None
        assert password is not None

        def late(result: WriteResult) -> None:
            self._ports.spawn(self._record_late(n, result))

        try:
            return await self._access.go_on(lambda link: jpki.write_password(link, keys=keys, password=password), late)
        except LinkEnded:
            return WriteNotSent()  # the connection was void before the job began
        except Exception:
            log.exception("write failed in the middle")
            return WriteUnknown()

    async def _take_back_intent(self, n: int) -> None:
        """Say that nothing was sent, in case the intent became durable after all; else a restart says unknown."""
        with contextlib.suppress(JournalUnavailable):
            await self._ports.journal.result(self._attempt_id, n, "not_done")

    async def _record(self, n: int, result: WriteResult) -> OutboxItem:
        record = self._ports.journal.result
        match result:
            case WriteAccepted(chaining_value, r_mac):
                return await record(self._attempt_id, n, "done", chaining_value=chaining_value, r_mac=r_mac)
            case WriteRefused(status_word):
                return await record(self._attempt_id, n, "not_done", status_word=status_word)
            case WriteNotSent():
                return await record(self._attempt_id, n, "not_done")
            case WriteUnknown():
                return await record(self._attempt_id, n, "unknown")

    def _enter_later(self, n: int, result: WriteResult) -> None:
        self._ports.outbox.result_later(self._attempt_id, n, partial(self._record, n, result))

    async def _record_late(self, n: int, result: WriteResult) -> None:
        """Keep the card's late answer to the RESET RETRY COUNTER; until it came, the write was unknown."""
        if isinstance(result, WriteUnknown):
            return
        try:
            report = await self._record(n, result)
        except JournalUnavailable:
            log.exception(
                "a late result is not durable; it is entered as soon as it can be",
                extra={"attempt_id": self._attempt_id, "n": n},  # the reader's thread knows of no attempt
            )
            self._enter_later(n, result)
            return
        if isinstance(result, WriteAccepted):
            self._receipt = report
            self._late_receipt()
        self._ports.outbox.poke()
