"""Cards for the phone's tests: the simulator's card, with a user certificate made of filler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cardsim.card import Card
from cardsim.issue import token_info
from cardsim.memory import (
    EF_TOKEN_INFO,
    EF_USER_CERTIFICATE,
    EF_USER_KEY,
    EF_USER_PIN,
    ISSUER_DOMAIN_AID,
    JPKI_AID,
    Application,
    ChannelMemory,
    ElementaryFile,
    KeyFile,
    Memory,
    Reference,
    ReferenceFile,
    ReferenceName,
    TransparentFile,
)
from jpki_phone.card import CardLost, Transmit

PIN = b"7391"
CERTIFICATE = bytes.fromhex("308205dc") + bytes(index % 251 for index in range(1500))  # DER's header, then filler
SPACE = 2048  # bytes of the EF
VERIFY = bytes.fromhex("00200080")
MY_NUMBER_CARD = "JPKIAPICCTOKEN2"


def make_card(
    key: RSAPrivateKey, *, tries: int = 3, certificate: bytes = CERTIFICATE, label: str = MY_NUMBER_CARD
) -> Card:
    """Return a card without power."""
    files: dict[int, ElementaryFile] = {
        EF_TOKEN_INFO: TransparentFile(token_info(label)),
        EF_USER_CERTIFICATE: TransparentFile(certificate.ljust(SPACE, b"\xff")),
        EF_USER_KEY: KeyFile(key, ReferenceName.USER_PIN),
        EF_USER_PIN: ReferenceFile(Reference(ReferenceName.USER_PIN, PIN, tries)),
    }
    applications = (Application("issuer security domain", ISSUER_DOMAIN_AID), Application("JPKI", JPKI_AID, files))
    return Card(Memory(applications, ChannelMemory(bytes(10), {})), lambda size: bytes(size))


class FakeSlot:
    """A slot as the phone's program sees it; counts what goes to the card, and can tear it."""

    def __init__(self, card: Card) -> None:
        self.inserted = card
        self.sent: list[bytes] = []
        self.sessions = 0
        self.held = False
        self.tear: Callable[[bytes], bytes | None] = lambda _: None  # b"" or another short answer in the card's place

    @contextlib.contextmanager
    def card(self) -> Iterator[Transmit]:
        """Hold the card, and reset it at the end."""
        self.sessions += 1
        self.held = True
        self.inserted.power_on()
        try:
            yield self._transmit
        finally:
            self.held = False
            self.inserted.power_off()

    @property
    def entries(self) -> int:
        """How many VERIFYs with data the card got."""
        return sum(command.startswith(VERIFY) and len(command) > len(VERIFY) for command in self.sent)

    def _transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        answer = self.inserted.transmit(command)
        torn = self.tear(command)
        if torn is None:
            return answer
        if torn == b"lost":
            raise CardLost
        return torn
