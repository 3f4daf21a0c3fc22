"""The simulated card: command APDU in, response APDU out. It opens no socket and no file, has no thread and no clock.

Behaviour follows what is publicly known of the JPKI application: ISO/IEC 7816-4 with the habits of the Japanese
industry specification JICSAP that open clients (OpenSC, jpki/myna) rely on. The one thing that is not public, how the
issuer unblocks the signing password, is replaced by SCP03; docs/CARD-PROTOCOL.md states it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo

from cardsim import scp03
from cardsim.apdu import SHORT_LE_MAXIMUM, CardError, Command, MalformedCommandError, Status, parse_command, respond
from cardsim.commands import (
    CHANGE_NEW_ONLY,
    CLA_PLAIN,
    CLA_PROPRIETARY,
    CLA_PROPRIETARY_SECURE,
    CLA_SECURE,
    CURRENT_FILE,
    FILE_ID_LENGTH,
    INS_CHANGE_REFERENCE_DATA,
    INS_EXTERNAL_AUTHENTICATE,
    INS_GET_CHALLENGE,
    INS_INITIALIZE_UPDATE,
    INS_PERFORM_SECURITY_OPERATION,
    INS_READ_BINARY,
    INS_RESET_RETRY_COUNTER,
    INS_SELECT,
    INS_SET_PUBLIC_KEY,
    INS_VERIFY,
    RESET_NEW_VALUE_ONLY,
    SELECT_BY_NAME,
    SELECT_ELEMENTARY,
    SELECT_NO_DATA,
    SELECT_ROOT,
    SHORT_ID_MASK,
    demand_length,
    demand_parameters,
    refuse_class,
)
from cardsim.memory import (
    EF_SIGNING_PASSWORD,
    JPKI_AID,
    KeyFile,
    Memory,
    OpaqueFile,
    RandomBytes,
    ReferenceFile,
    TransparentFile,
)
from cardsim.session import Session

# A contactless ATR of the card, as OpenSC's installer lists it; built by the reader from the Type B answer.
ATR: Final = bytes.fromhex("3B888001004B51FFB381D1000F")

SIGNATURE_INPUT_MAXIMUM: Final = 245  # RSA-2048 less 11 bytes of PKCS #1 v1.5 padding (RFC 8017, 9.2)
SIGNATURE_LENGTH: Final = 256
SMALLEST_WRAPPED: Final = scp03.BLOCK_LENGTH + scp03.MAC_LENGTH

PATIENCE: Final = 10  # wrong host cryptograms in a row before the card gets slower
FIRST_DELAY: Final = 0.25  # seconds; doubles with every further wrong one
DOUBLINGS: Final = 4  # up to 4 s, well under the time a reader waits for an answer


class Card:
    """One card. Call `power_on`, then `transmit` for each APDU; `power_off` and `reset` at any time.

    `random` gives the card's challenges, so that a test can fix them. After `transmit`, `delay` says how many seconds
    a card would have taken on purpose: whoever drives the card waits that long before passing the answer on.
    """

    def __init__(self, memory: Memory, random: RandomBytes) -> None:
        self.memory = memory
        self.delay = 0.0
        self._random = random
        self._session: Session | None = None
        self._handlers: Mapping[tuple[int, int], Callable[[Session, Command], bytes]] = {
            (CLA_PLAIN, INS_SELECT): self._select,
            (CLA_PLAIN, INS_READ_BINARY): self._read_binary,
            (CLA_PLAIN, INS_VERIFY): self._verify,
            (CLA_PLAIN, INS_CHANGE_REFERENCE_DATA): self._change_reference_data,
            (CLA_PLAIN, INS_GET_CHALLENGE): self._get_challenge,
            (CLA_PLAIN, INS_PERFORM_SECURITY_OPERATION): self._sign,
            (CLA_PROPRIETARY, INS_PERFORM_SECURITY_OPERATION): self._sign,
            (CLA_PROPRIETARY, INS_SET_PUBLIC_KEY): self._set_public_key,
            (CLA_PROPRIETARY, INS_INITIALIZE_UPDATE): self._initialize_update,
        }

    def power_on(self) -> bytes:
        """Start afresh, with the issuer security domain selected, and return the ATR."""
        self._session = Session(self.memory.applications[0])
        return ATR

    def power_off(self) -> None:
        """Forget everything but the memory."""
        self._session = None

    def reset(self) -> None:
        """Forget everything but the memory, and start afresh."""
        self.power_on()

    @property
    def powered(self) -> bool:
        """Whether the card would answer at all."""
        return self._session is not None

    def transmit(self, apdu: bytes) -> bytes:
        """Carry one command out and return data and status word; b"" for no answer at all. Never raises.

        A card without power does not answer, and neither does a mute one.
        """
        self.delay = self.memory.habits.answer_seconds
        session = self._session
        if session is None or self.memory.habits.mute:
            return b""
        try:
            return respond(self._perform(session, apdu), Status.DONE)
        except CardError as error:
            return respond(b"", error.status)

    def snapshot(self) -> dict[str, object]:
        """Return the state as plain values, without any secret: for the ledger."""
        session = self._session
        channel = "closed"
        if session and (session.offer or session.channel):
            channel = "open" if session.channel else "offered"
        return {
            "powered": session is not None,
            "application": session.application.name if session else None,
            "file": f"{session.file:04X}" if session and session.file is not None else None,
            "tries": {each.name.value: each.tries for each in self.memory.references()},
            "verified": sorted(session.verified) if session else [],
            "channel": channel,
            "channel_failures": self.memory.channel.failures,
        }

    def _perform(self, session: Session, apdu: bytes) -> bytes:
        offer, channel = session.offer, session.channel
        session.offer = session.channel = None
        try:
            command = parse_command(apdu)
        except MalformedCommandError:
            raise CardError(Status.CONDITIONS_NOT_SATISFIED if channel else Status.WRONG_LENGTH) from None
        which = (command.cla, command.ins)
        if channel and which != (CLA_PLAIN, INS_SELECT):
            return self._reset_retry_counter(session, command, channel)
        if which == (CLA_PROPRIETARY_SECURE, INS_EXTERNAL_AUTHENTICATE):
            return self._external_authenticate(session, command, offer)
        if command.ins == INS_RESET_RETRY_COUNTER:
            raise CardError(Status.CONDITIONS_NOT_SATISFIED)
        refuse_class(command)
        handler = self._handlers.get(which)
        if handler is None:
            known = any(command.ins == ins for _, ins in self._handlers)
            raise CardError(Status.UNKNOWN_CLASS if known else Status.UNKNOWN_INSTRUCTION)
        return handler(session, command)

    # Files

    def _select(self, session: Session, command: Command) -> bytes:
        if command.p1 == SELECT_BY_NAME and command.p2 == SELECT_NO_DATA:
            self._select_application(command)
        elif command.p1 == SELECT_ELEMENTARY and command.p2 == SELECT_NO_DATA:
            demand_length(len(command.data) == FILE_ID_LENGTH)
            session.select(int.from_bytes(command.data, "big"))
        elif command.p1 == SELECT_ROOT:
            self._select_root(session, command)
        else:
            raise CardError(Status.WRONG_PARAMETERS)
        return b""

    def _select_application(self, command: Command) -> None:
        application = self.memory.application_by_name(command.data)
        if application is None:
            raise CardError(Status.FILE_NOT_FOUND)
        self._session = Session(application)

    def _select_root(self, session: Session, command: Command) -> None:
        """Answer as measured: no file is found by id; without data nothing happens, an error at card level."""
        if command.data:
            raise CardError(Status.FILE_NOT_FOUND)
        demand_parameters(session.application is not self.memory.applications[0])

    def _read_binary(self, session: Session, command: Command) -> bytes:
        demand_length(not command.data and command.expected is not None)
        if command.p1 & CURRENT_FILE:
            demand_parameters(command.p1 & ~SHORT_ID_MASK == CURRENT_FILE)
            session.select(session.application.by_short_id(command.p1 & SHORT_ID_MASK))
            offset = command.p2
        else:
            offset = command.p1 << 8 | command.p2
        file = session.current_file()
        if not isinstance(file, TransparentFile):
            raise CardError(Status.WRONG_KIND_OF_FILE)
        session.demand_verified(file.guard)
        if offset >= len(file.content):
            raise CardError(Status.PAST_THE_END)
        return file.content[offset : offset + (command.expected or 0)]

    # Reference data and keys

    def _verify(self, session: Session, command: Command) -> bytes:
        demand_length(command.expected is None)
        demand_parameters(command.p1 == 0)
        reference = session.named_reference(command.p2)
        if not command.data:
            raise CardError(Status.NO_TRIES_LEFT + reference.tries)  # also while verified
        if not reference.tries:
            raise CardError(Status.REFERENCE_BLOCKED)
        session.verified.discard(reference.name)
        if not reference.verify(command.data):
            raise CardError(Status.NO_TRIES_LEFT + reference.tries)
        session.verified.add(reference.name)
        return b""

    def _change_reference_data(self, session: Session, command: Command) -> bytes:
        demand_length(bool(command.data) and command.expected is None)
        demand_parameters(command.p1 == CHANGE_NEW_ONLY)
        reference = session.named_reference(command.p2)
        if not reference.tries:
            raise CardError(Status.REFERENCE_BLOCKED)
        session.demand_verified(reference.name)
        if not reference.permits(command.data):
            raise CardError(Status.WRONG_DATA)
        reference.replace(command.data)
        return b""

    def _sign(self, session: Session, command: Command) -> bytes:
        demand_length(0 < len(command.data) <= SIGNATURE_INPUT_MAXIMUM)
        demand_length((command.expected or 0) >= SIGNATURE_LENGTH)
        demand_parameters(command.p1 == 0)
        file = session.named_file(command.p2)
        if not isinstance(file, KeyFile):
            raise CardError(Status.WRONG_KIND_OF_FILE)
        session.demand_verified(file.guard)
        return file.key.sign(command.data, PKCS1v15(), NoDigestInfo())

    def _get_challenge(self, _session: Session, command: Command) -> bytes:
        if command.extended:
            raise CardError(Status.CONDITIONS_NOT_SATISFIED)
        demand_length(not command.data)
        if command.expected is None:
            raise CardError(Status.WRONG_LENGTH)
        demand_parameters(command.p1 == 0 and command.p2 == 0)
        return self._random(command.expected)

    def _set_public_key(self, session: Session, command: Command) -> bytes:
        """Refuse by length, as measured with made-up data: nobody here has a certificate the issuer signed."""
        if not isinstance(session.named_file(command.p2), OpaqueFile):
            raise CardError(Status.WRONG_KIND_OF_FILE)
        raise CardError(Status.WRONG_LENGTH)

    # The secure channel

    def _initialize_update(self, session: Session, command: Command) -> bytes:
        memory = self.memory.channel
        if session.application.aid != JPKI_AID:
            raise CardError(Status.CONDITIONS_NOT_SATISFIED)
        demand_parameters(command.p2 == 0)
        keys = memory.keys.get(command.p1)
        if keys is None:
            raise CardError(Status.REFERENCE_NOT_FOUND)
        demand_length(len(command.data) == scp03.CHALLENGE_LENGTH)
        demand_length(command.expected in (None, SHORT_LE_MAXIMUM))
        self.delay += channel_delay(memory.failures)
        card_challenge = self._random(scp03.CHALLENGE_LENGTH)
        session.offer = scp03.Offer(keys, command.data, card_challenge)
        key_information = bytes((command.p1, scp03.PROTOCOL, scp03.PARAMETERS))
        return memory.diversification_data + key_information + card_challenge + session.offer.card_cryptogram

    def _external_authenticate(self, session: Session, command: Command, offer: scp03.Offer | None) -> bytes:
        if offer is None or command.p1 != scp03.SECURITY_LEVEL or command.p2:
            raise CardError(Status.CONDITIONS_NOT_SATISFIED)
        demand_length(len(command.data) == scp03.CRYPTOGRAM_LENGTH + scp03.MAC_LENGTH)
        demand_length(command.expected is None and not command.extended)
        if not offer.accepts(command.data[: scp03.CRYPTOGRAM_LENGTH]):
            self.memory.channel.failures += 1
            raise CardError(Status.AUTHENTICATION_FAILED)
        self.memory.channel.failures = 0
        try:
            session.channel = offer.open(command.header, command.data)
        except scp03.WrongMacError:
            raise CardError(Status.SECURITY_NOT_SATISFIED) from None
        return b""

    def _reset_retry_counter(self, session: Session, command: Command, channel: scp03.Channel) -> bytes:
        """Carry out the one command of a channel; the caller has closed the channel already."""
        file = session.application.files.get(EF_SIGNING_PASSWORD)
        if not isinstance(file, ReferenceFile) or not _is_wrapped_reset(command):
            raise CardError(Status.CONDITIONS_NOT_SATISFIED)
        try:
            new_value = channel.decrypt(channel.verify(command.header, command.data))
        except scp03.WrongMacError:
            raise CardError(Status.SECURITY_NOT_SATISFIED) from None
        except scp03.WrongPaddingError:
            raise CardError(Status.WRONG_DATA) from None
        if not file.reference.permits(new_value):
            raise CardError(Status.WRONG_DATA)
        file.reference.replace(new_value)
        session.verified.discard(file.reference.name)
        return channel.response_mac(Status.DONE)


def channel_delay(failures: int) -> float:
    """Return the seconds INITIALIZE UPDATE takes on purpose after so many wrong host cryptograms in a row."""
    if failures < PATIENCE:
        return 0.0
    return FIRST_DELAY * (1 << min(failures - PATIENCE, DOUBLINGS))


def _is_wrapped_reset(command: Command) -> bool:
    """Whether this is the one form a channel takes: 04 2C 02 9B, whole blocks and a MAC, Le absent or 00."""
    header = bytes((CLA_SECURE, INS_RESET_RETRY_COUNTER, RESET_NEW_VALUE_ONLY, CURRENT_FILE | EF_SIGNING_PASSWORD))
    blocks = len(command.data) - scp03.MAC_LENGTH
    return (
        command.header == header
        and not command.extended
        and len(command.data) >= SMALLEST_WRAPPED
        and blocks % scp03.BLOCK_LENGTH == 0
        and command.expected in (None, SHORT_LE_MAXIMUM)
    )
