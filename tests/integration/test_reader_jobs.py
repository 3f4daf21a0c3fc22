"""The jobs, on the owner thread, over pcscd, to a simulated card: a whole reset with yubikit in the centre's place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from yubikit.core.smartcard import scp

from cardsim import store
from cardsim.card import Card
from cardsim.memory import ReferenceName
from gatewayd.card import jpki
from gatewayd.card.values import (
    CardFacts,
    ChannelKeys,
    ChannelOffered,
    DifferentCard,
    PinAccepted,
    PinWrong,
    Unfit,
    WriteAccepted,
    WriteNotSent,
    WriteRefused,
    WriteUnknown,
)
from gatewayd.errors import TransmitFailed
from gatewayd.reader.port import Connection
from gatewayd.secret import Secret
from tests.contract.reader_contract import until
from tests.fakes.faults import Fault
from tests.integration.pcsc_stage import PcscStage, pcsc_stage
from tests.rig.pcscd import PrivatePcscd
from tests.rig.site import LOCKED, Site

BUDGET_S = 20.0
MOST_APDUS = 45  # of a whole reset
KEY_VERSION = 0x31
CHALLENGE = bytes.fromhex("0011223344556677")
STATEMENT = b"JPKI-RESET-STATEMENT"
PASSWORD = b"NEWPASS2"
RIGHT_PIN, WRONG_PIN = b"1357", b"0000"
INS_VERIFY, INS_READ_BINARY, HEADER = 0x20, 0xB0, 4
SELECT, TOKEN_AND_FLAGS = 1, 2  # commands
AUTHENTICATION = bytes.fromhex("8482130010")


@pytest.fixture
async def stage(private_pcscd: PrivatePcscd) -> AsyncIterator[PcscStage]:
    async with pcsc_stage(private_pcscd) as stage:
        await until(stage.reader, present=False)
        yield stage


def load(site: Site, persona: str = LOCKED) -> Card:
    return Card(store.load(site.cards / f"{persona}.json"), secrets.token_bytes)


async def placed(stage: PcscStage, card: Card) -> Card:
    await stage.insert(card)
    await until(stage.reader, present=True)
    return card


async def read(stage: PcscStage) -> CardFacts:
    facts = await stage.reader.connection().run(jpki.read_card, budget_s=BUDGET_S, last=True)
    assert isinstance(facts, CardFacts)
    return facts


async def verify(stage: PcscStage, certificate: bytes, pin: bytes) -> object:
    return await stage.reader.connection().run(
        lambda link: jpki.verify_and_sign(link, certificate=certificate, pin=Secret(pin), statement=STATEMENT),
        budget_s=BUDGET_S,
        last=True,
    )


async def offer(connection: Connection, certificate: bytes) -> ChannelOffered:
    offered = await connection.run(
        lambda link: jpki.offer_channel(
            link, certificate=certificate, key_version=KEY_VERSION, host_challenge=CHALLENGE
        ),
        budget_s=BUDGET_S,
    )
    assert isinstance(offered, ChannelOffered)
    return offered


class Centre:
    """What the centre does with a channel: judge the card, authorise one command, judge the receipt."""

    def __init__(self, card: Card) -> None:
        keys = card.memory.channel.keys[KEY_VERSION]
        self._static = scp.StaticKeys(keys.enc, keys.mac)
        self._session = self._static.derive(bytes(16))

    def authorize(self, offered: ChannelOffered) -> ChannelKeys:
        context = offered.host_challenge + offered.answer[13:21]
        self._session = self._static.derive(context)
        assert scp._derive(self._session.key_smac, 0x00, context, 0x40) == offered.answer[21:]
        head = AUTHENTICATION + scp._derive(self._session.key_smac, 0x01, context, 0x40)
        command = head + scp.ScpState(self._session).mac(head)
        return ChannelKeys(command, Secret(self._session.key_senc), Secret(self._session.key_smac))

    def judge(self, accepted: WriteAccepted) -> bool:
        state = scp.ScpState(self._session, accepted.chaining_value)
        return state.unmac(accepted.r_mac, 0x9000) == b""


def password_of(card: Card) -> tuple[bytes, int]:
    reference = card.memory.reference(ReferenceName.SIGNING_PASSWORD)
    return reference.value, reference.tries


async def test_whole_reset(stage: PcscStage, site: Site) -> None:
    card = await placed(stage, load(site))
    facts = await read(stage)
    assert (facts.user_pin_tries, facts.signing_password_tries) == (3, 0)

    assert await verify(stage, facts.user_certificate, WRONG_PIN) == PinWrong(2)
    accepted = await verify(stage, facts.user_certificate, RIGHT_PIN)
    assert isinstance(accepted, PinAccepted)
    key = x509.load_der_x509_certificate(facts.user_certificate).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(accepted.signature, hashlib.sha256(STATEMENT).digest(), PKCS1v15(), Prehashed(SHA256()))

    centre = Centre(card)
    connection = stage.reader.connection()
    keys = centre.authorize(await offer(connection, facts.user_certificate))
    result = await connection.run(
        lambda link: jpki.write_password(link, keys=keys, password=Secret(PASSWORD)), budget_s=BUDGET_S, last=True
    )
    assert isinstance(result, WriteAccepted)
    assert result.signing_password_tries == 5
    assert centre.judge(result)
    assert password_of(card) == (PASSWORD, 5)
    assert len(stage.exchanges) <= MOST_APDUS
    assert not card.snapshot()["verified"]


@pytest.mark.parametrize(
    ("number", "fault", "result", "changed"),
    [
        (1, Fault.TORN_BEFORE, WriteNotSent(), False),
        (1, Fault.TORN_AFTER, WriteNotSent(), False),
        (1, Fault.SERVICE_LOST_AFTER, WriteNotSent(), False),
        (2, Fault.TORN_BEFORE, WriteUnknown(), False),
        (2, Fault.TORN_AFTER, WriteUnknown(), True),
        (2, Fault.SERVICE_LOST_AFTER, WriteUnknown(), True),
        (3, Fault.TORN_AFTER, None, True),
        (4, Fault.TORN_BEFORE, None, True),
    ],
)
async def test_torn_write_is_never_claimed(
    stage: PcscStage, site: Site, number: int, fault: Fault, result: object, changed: bool
) -> None:
    card = await placed(stage, load(site))
    facts = await read(stage)
    connection = stage.reader.connection()
    keys = Centre(card).authorize(await offer(connection, facts.user_certificate))
    stage.plan(number, fault)
    told = await connection.run(
        lambda link: jpki.write_password(link, keys=keys, password=Secret(PASSWORD)), budget_s=BUDGET_S, last=True
    )
    if result is None:
        assert isinstance(told, WriteAccepted)
        assert told.signing_password_tries is None
    else:
        assert told == result
    assert (password_of(card)[0] == PASSWORD) is changed


async def test_channel_is_gone_after_a_reset_and_the_write_refused(stage: PcscStage, site: Site) -> None:
    card = await placed(stage, load(site))
    facts = await read(stage)
    connection = stage.reader.connection()
    keys = Centre(card).authorize(await offer(connection, facts.user_certificate))
    await connection.close()
    result = await stage.reader.connection().run(
        lambda link: jpki.write_password(link, keys=keys, password=Secret(PASSWORD)), budget_s=BUDGET_S, last=True
    )
    assert isinstance(result, WriteRefused)
    assert not result.sent
    assert password_of(card)[1] == 0


async def test_swapped_card_is_told_and_loses_no_try(stage: PcscStage, site: Site) -> None:
    await placed(stage, load(site))
    facts = await read(stage)
    await stage.remove()
    await until(stage.reader, present=False)
    other = await placed(stage, load(site, "forgotten"))
    assert await verify(stage, facts.user_certificate, WRONG_PIN) == DifferentCard()
    assert other.memory.reference(ReferenceName.USER_PIN).tries == 3


async def test_torn_pin_is_recounted(stage: PcscStage, site: Site) -> None:
    card = await placed(stage, load(site))
    facts = await read(stage)
    reads = sum(each.command[1] == INS_READ_BINARY for each in stage.exchanges) - TOKEN_AND_FLAGS
    stage.plan(SELECT + reads + 1, Fault.TORN_AFTER)
    with pytest.raises(TransmitFailed):
        await verify(stage, facts.user_certificate, WRONG_PIN)
    await until(stage.reader, present=False)
    await placed(stage, card)
    tries = await stage.reader.connection().run(
        lambda link: jpki.recount(link, certificate=facts.user_certificate), budget_s=BUDGET_S, last=True
    )
    assert tries == 2
    assert sum(each.command[1] == INS_VERIFY and len(each.command) > HEADER for each in stage.exchanges) == 1


async def test_locked_user_pin_is_told_before_the_certificate_is_read(stage: PcscStage, site: Site) -> None:
    await placed(stage, load(site, "user-pin-locked"))
    told = await stage.reader.connection().run(jpki.read_card, budget_s=BUDGET_S, last=True)
    assert told is Unfit.USER_PIN_LOCKED
    assert len(stage.exchanges) == 4
