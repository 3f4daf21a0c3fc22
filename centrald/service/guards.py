"""Who has to wait: phones that ask too often, and cards and kiosks whose cryptograms are wrong.

Each process counts for itself, in bounded memory. N processes let through at most N times as much; what must hold
exactly, holds in the database.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging

from centrald.errors import TooMany
from centrald.rules.limits import Buckets, Patience, Pauses, Rate
from centrald.rules.model import CertificateId, KioskId

_log = logging.getLogger(__name__)

NAMES = 100_000  # remembered by each guard; some 20 MB at most
_IPV6_PREFIX = 64  # what one subscriber gets
CARD_PATIENCE = Patience(
    free=3,
    first=datetime.timedelta(seconds=30),
    longest=datetime.timedelta(hours=1),
    forget=datetime.timedelta(hours=1),
)
KIOSK_PATIENCE = Patience(
    free=10,
    first=datetime.timedelta(seconds=5),
    longest=datetime.timedelta(minutes=5),
    forget=datetime.timedelta(minutes=10),
)


class PhoneGuard:
    """Limits phones by address before anything is done, and by certificate once its signature is proved.

    Not by a certificate that is merely shown: else anyone who knows one could lock its citizen out.
    """

    def __init__(self, address: Rate, certificate: Rate) -> None:
        self._addresses: Buckets[str] = Buckets(address, NAMES)
        self._certificates: Buckets[CertificateId] = Buckets(certificate, NAMES)
        self.refused = {"address": 0, "certificate": 0}  # since the start, for metrics

    def address(self, peer: str, now: datetime.datetime) -> None:
        """Let one call of this peer (as gRPC names it) through; raises TooMany."""
        self._judge("address", self._addresses.take(subscriber(peer), now))

    def certificate(self, certificate: CertificateId, now: datetime.datetime) -> None:
        """Let one reservation of this certificate through; raises TooMany."""
        self._judge("certificate", self._certificates.take(certificate, now))

    def _judge(self, kind: str, wait: datetime.timedelta | None) -> None:
        if wait is not None:
            self.refused[kind] += 1
            raise TooMany(f"too many requests of this {kind}", wait)


def subscriber(peer: str) -> str:
    """Return whose address this is: an IPv4 address, or the first 64 bits of an IPv6 one."""
    host = peer.partition(":")[2].rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return peer.partition(":")[0]  # a Unix socket, or none: all alike
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


class CryptogramGuard:
    """Slows down cards and kiosks whose cryptograms are wrong again and again, and raises the alarm.

    A right one clears its card. It does not clear its kiosk: there, time alone forgets.
    """

    def __init__(self, card: Patience = CARD_PATIENCE, kiosk: Patience = KIOSK_PATIENCE) -> None:
        self._card, self._kiosk = card, kiosk
        self.cards: Pauses[CertificateId] = Pauses(card, NAMES)
        self.kiosks: Pauses[KioskId] = Pauses(kiosk, NAMES)
        self.wrong_total = 0  # since the start, for metrics
        self.refused_total = 0

    def admit(self, card: CertificateId, kiosk: KioskId, now: datetime.datetime) -> None:
        """Let one AuthorizeReset through; raises TooMany."""
        for what, wait in (("card", self.cards.wait(card, now)), ("kiosk", self.kiosks.wait(kiosk, now))):
            if wait is not None:
                self.refused_total += 1
                raise TooMany(f"too many wrong cryptograms of this {what}", wait)

    def judged(
        self, card: CertificateId, kiosk: KioskId, reservation_id: str, now: datetime.datetime, *, genuine: bool
    ) -> None:
        """Count one judgement that was recorded."""
        if genuine:
            self.cards.right(card)
            return
        self.wrong_total += 1
        by_card, by_kiosk = self.cards.wrong(card, now), self.kiosks.wrong(kiosk, now)
        told = {"kiosk": str(kiosk), "reservation_id": reservation_id, "by_card": by_card, "by_kiosk": by_kiosk}
        if by_card > self._card.free or by_kiosk > self._kiosk.free:
            _log.error("wrong cryptograms again and again: pauses begin", extra=told)
        else:
            _log.warning("a cryptogram is wrong", extra=told)
