"""What the card keys are used for: to judge a card's answer and its receipt, and to hand over one channel."""

from __future__ import annotations

from dataclasses import dataclass, field

from centrald.cardkeys import CardAnswer, Channel
from centrald.errors import BadContent
from centrald.masterkeys import CardKeys
from centrald.rules.model import CardEntry, Outcome, Procedure, Transcript, Verdict, Write


@dataclass(frozen=True, slots=True)
class Authorized:
    """One write is authorised; holds session keys, so it prints none."""

    external_authenticate: bytes  # 21 bytes
    s_enc: bytes = field(repr=False)  # 16 bytes
    s_mac: bytes = field(repr=False)  # 16 bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """The card's own receipt."""

    chaining_value: bytes = field(repr=False)  # 16 bytes
    r_mac: bytes = field(repr=False)  # 8 bytes


class Channels:
    """Derives every channel anew from its transcript; keeps no session key."""

    def __init__(self, keys: CardKeys) -> None:
        self._keys = keys

    async def _channel(self, procedure: Procedure, transcript: Transcript) -> Channel:
        data = transcript.diversification_data
        return Channel.of(await self._keys.static_keys(procedure, transcript.key_version, data), transcript)

    async def judge(
        self, procedure: Procedure, card: CardEntry | None, key_version: int, host_challenge: bytes, answer: bytes
    ) -> tuple[Transcript, bool]:
        """Return the transcript of an answer to INITIALIZE UPDATE, and whether it is that card's; raises BadContent.

        It is when diversification data, key version and protocol are the registered ones, and the cryptogram verifies.
        """
        try:
            parsed = CardAnswer.parse(answer)
        except ValueError as error:
            raise BadContent(str(error)) from None
        transcript = Transcript(
            key_version=parsed.key_version,
            diversification_data=parsed.diversification_data,
            host_challenge=host_challenge,
            card_challenge=parsed.card_challenge,
        )
        genuine = (
            card is not None
            and parsed.speaks_our_protocol
            and parsed.diversification_data == card.diversification_data
            and parsed.key_version == key_version == card.key_versions.get(procedure)
            and (await self._channel(procedure, transcript)).card_is_genuine(parsed.cryptogram)
        )
        return transcript, genuine

    async def hand_over(self, procedure: Procedure, transcript: Transcript) -> Authorized:
        """Return what a kiosk needs of a channel; never S-RMAC."""
        channel = await self._channel(procedure, transcript)
        return Authorized(channel.external_authenticate(), channel.s_enc, channel.s_mac)

    async def verdict(
        self, procedure: Procedure, write: Write | None, outcome: Outcome, receipt: Receipt | None
    ) -> Verdict:
        """Judge the receipt of a report with S-RMAC; raises BadContent for one that is missing or out of place."""
        if (receipt is None) == (outcome is Outcome.DONE):
            raise BadContent("a receipt comes with DONE, and only with it")
        if receipt is None:
            return Verdict.NONE
        if write is None or write.transcript is None:
            return Verdict.INVALID
        channel = await self._channel(procedure, write.transcript)
        return Verdict.VALID if channel.receipt_is_valid(receipt.chaining_value, receipt.r_mac) else Verdict.INVALID
