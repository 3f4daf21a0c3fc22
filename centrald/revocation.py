"""The authorities' revocation lists: one file for each, verified, watched, and read anew when it changes.

A list counts until its `nextUpdate`, and for a grace after it; past that nobody may rely on it, and no attempt begins
until a newer one is there. Source: RFC 5280, section 5.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from centrald import files
from centrald.certificates import BROKEN
from centrald.errors import AlreadyThere, ConfigError

_log = logging.getLogger(__name__)

SUFFIX = ".crl"
_PEM = b"-----BEGIN"
_SKEW = datetime.timedelta(minutes=5)  # an authority's clock may be so much ahead
_SAY_AGAIN = datetime.timedelta(hours=1)  # what is out of date is said so often
_KNOWN_CRITICAL = frozenset({ExtensionOID.ISSUING_DISTRIBUTION_POINT})


class NotInForce(ConfigError):
    """A list that is right, and of a later time."""


class Role(Enum):
    """Which of a card's certificates an authority issues."""

    USER = "user"
    SIGNING = "signing"


class Condition(Enum):
    """Whether a list may be relied on."""

    CURRENT = "current"
    MISSING = "missing"
    STALE = "stale"  # past nextUpdate, within the grace
    OVERDUE = "overdue"  # past the grace


@dataclass(frozen=True, slots=True)
class Root:
    """An authority whose cards the service knows."""

    role: Role
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A verified list; serial numbers are personal data, so it prints none."""

    authority_key_id: str
    number: int
    this_update: datetime.datetime
    next_update: datetime.datetime
    serials: frozenset[int]

    def __repr__(self) -> str:
        return f"RevocationList({self.authority_key_id!r}, number={self.number}, {len(self.serials)} revoked)"


@dataclass(frozen=True, slots=True)
class ListState:
    """Where one authority's list stands, for people and metrics."""

    role: Role
    authority_key_id: str
    condition: Condition
    known: RevocationList | None


def all_roots(certificates: Mapping[Role, Mapping[str, x509.Certificate]]) -> dict[str, Root]:
    """Return the authorities of both roles by subject key id."""
    return {key_id: Root(role, one) for role, roots in certificates.items() for key_id, one in roots.items()}


def read(data: bytes, roots: Mapping[str, Root], now: datetime.datetime) -> RevocationList:
    """Read a list, DER or PEM; raises ConfigError unless it is whole, of one of these authorities, and in force."""
    try:
        crl = x509.load_pem_x509_crl(data) if data.startswith(_PEM) else x509.load_der_x509_crl(data)
        extensions = crl.extensions
        key_id = next((key_id for key_id, root in roots.items() if root.certificate.subject == crl.issuer), None)
        if key_id is None:
            raise ConfigError("no authority known here issued it")
        key_id = next((key_id for key_id, root in roots.items() if _signed(crl, root)), None)
        if key_id is None:
            raise ConfigError("its signature does not verify")
        _check_scope(extensions)
        number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        serials = frozenset(entry.serial_number for entry in crl)
    except x509.ExtensionNotFound:
        raise ConfigError("it has no number") from None
    except BROKEN:
        raise ConfigError("it is not a revocation list") from None
    if crl.next_update_utc is None:
        raise ConfigError("it does not say when the next one comes")
    if crl.last_update_utc > now + _SKEW:
        raise NotInForce("it is not in force yet")
    return RevocationList(key_id, number, crl.last_update_utc, crl.next_update_utc, serials)


def _signed(crl: x509.CertificateRevocationList, root: Root) -> bool:
    key = root.certificate.public_key()
    usage = root.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    return (
        root.certificate.subject == crl.issuer
        and usage.crl_sign
        and crl.signature_algorithm_oid == SignatureAlgorithmOID.RSA_WITH_SHA256
        and isinstance(key, RSAPublicKey)
        and crl.is_signature_valid(key)
    )


def _check_scope(extensions: x509.Extensions) -> None:
    """Refuse what does not cover every certificate of the authority: deltas, parts, and lists for others."""
    if any(one.critical and one.oid not in _KNOWN_CRITICAL for one in extensions):
        raise ConfigError("it covers only changes, or has a critical extension nobody here knows")
    try:
        point = extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return
    narrowed = (
        point.full_name,
        point.relative_name,
        point.only_some_reasons,
        point.indirect_crl,
        point.only_contains_ca_certs,
        point.only_contains_attribute_certs,
    )
    if any(narrowed):
        raise ConfigError("it covers only a part of the authority's certificates")


class Revocations:
    """What is revoked, and whether that can be relied on."""

    def __init__(self, folder: Path, roots: Mapping[str, Root], *, required: bool, grace: datetime.timedelta) -> None:
        self._folder = folder
        self._roots = roots
        self._required = required
        self._grace = grace
        self._lists: dict[str, RevocationList] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self._awaited: dict[Path, str] = {}  # why a file could not be used yet
        self._said: dict[str, tuple[Condition, datetime.datetime]] = {}

    def load(self, now: datetime.datetime) -> None:
        """Read every file; raises ConfigError naming the first that cannot be used."""
        self._read(now, self._complain)

    @staticmethod
    def _complain(path: Path, error: ConfigError) -> None:
        raise ConfigError(f"{path}: {error}") from None

    @staticmethod
    def _log_only(path: Path, error: ConfigError) -> None:
        _log.error("a revocation list cannot be used; the last good one counts on", extra=_file(path, error))

    def refresh(self, now: datetime.datetime) -> None:
        """Read the files that changed; what cannot be used is logged, and a file that is gone counts on.

        What time alone can mend, a list that is not in force yet or a file that cannot be read, is looked at again.
        """
        self._read(now, self._log_only)

    def _read(self, now: datetime.datetime, failed: Callable[[Path, ConfigError], None]) -> None:
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                found = path.stat()
                stamp = (found.st_mtime_ns, found.st_ino)
                if self._seen.get(path) == stamp:
                    continue
                self._seen[path] = stamp
                new = read(path.read_bytes(), self._roots, now)
            except (OSError, NotInForce) as error:
                self._seen.pop(path, None)
                why = str((error.strerror or "unreadable") if isinstance(error, OSError) else error)
                if self._awaited.get(path) != why:
                    self._awaited[path] = why
                    failed(path, ConfigError(why))
            except ConfigError as error:
                failed(path, error)
            else:
                self._awaited.pop(path, None)
                self._take(new)

    def _take(self, new: RevocationList) -> None:
        """Take a list unless a newer one of the same authority is known; the change is one assignment."""
        known = self._lists.get(new.authority_key_id)
        if known is not None and known.number > new.number:
            _log.warning("an older revocation list is left aside", extra=_told(new))
            return
        self._lists = self._lists | {new.authority_key_id: new}
        _log.info("revocation list read", extra=_told(new))

    def put(self, data: bytes, now: datetime.datetime) -> tuple[RevocationList, bool]:
        """Verify a list and keep it as its authority's file; returns it, and whether it is new.

        Raises ConfigError, and AlreadyThere when a newer one is there.
        """
        new = read(data, self._roots, now)
        known = self._lists.get(new.authority_key_id)
        if known is not None and known.number > new.number:
            raise AlreadyThere(f"list {known.number} of the same authority is newer than {new.number}")
        if known == new:
            return new, False
        path = self._folder / f"{new.authority_key_id}{SUFFIX}"
        files.replace(path, data)  # the service reads all of it or nothing
        self._lists = self._lists | {new.authority_key_id: new}
        return new, True

    def user_revoked(self, authority_key_id: str, serial: str) -> bool:
        """Tell whether a user certificate (hexadecimal serial number) is on its authority's list."""
        known = self._lists.get(authority_key_id)
        return known is not None and int(serial, 16) in known.serials

    def signing_revoked(self, authority_key_id: str | None, serial: str) -> bool:
        """Tell whether a signing certificate is on its authority's list; on any of them where that is not known."""
        number = int(serial, 16)
        return any(
            number in known.serials
            for key_id, known in self._lists.items()
            if self._roots[key_id].role is Role.SIGNING and authority_key_id in (None, key_id)
        )

    def states(self, now: datetime.datetime) -> list[ListState]:
        """Return where each authority's list stands; an authority that has expired needs none."""
        return [
            ListState(root.role, key_id, self._condition(self._lists.get(key_id), now), self._lists.get(key_id))
            for key_id, root in self._roots.items()
            if now <= root.certificate.not_valid_after_utc
        ]

    def _condition(self, known: RevocationList | None, now: datetime.datetime) -> Condition:
        if known is None:
            return Condition.MISSING
        if now <= known.next_update:
            return Condition.CURRENT
        return Condition.STALE if now <= known.next_update + self._grace else Condition.OVERDUE

    def reliable(self, now: datetime.datetime) -> bool:
        """Tell whether revocation can be judged: no list is overdue, and none is missing where they are required."""
        conditions = {one.condition for one in self.states(now)}
        return Condition.OVERDUE not in conditions and not (self._required and Condition.MISSING in conditions)

    def say(self, now: datetime.datetime) -> None:
        """Log what is not current: when that changes, and every hour."""
        for state in self.states(now):
            said, at = self._said.get(state.authority_key_id, (Condition.CURRENT, now))
            if state.condition is said and (said is Condition.CURRENT or now < at + _SAY_AGAIN):
                continue
            self._said[state.authority_key_id] = (state.condition, now)
            told = {"role": state.role.value, "authority": state.authority_key_id, "condition": state.condition.value}
            if state.known is not None:
                told["next_update"] = state.known.next_update.isoformat()
            match state.condition:
                case Condition.CURRENT:
                    _log.info("revocation list is current again", extra=told)
                case Condition.MISSING if not self._required:
                    _log.warning("no revocation list: only the registry says what is revoked", extra=told)
                case _:
                    _log.error("revocation list is out of date or missing", extra=told)

    async def watch(self, now: Callable[[], datetime.datetime], every: float) -> None:
        """Look for new files (each `every` seconds) and log what is not current, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.refresh, now())  # a list of millions takes seconds
                self.say(now())
            except Exception:  # noqa: BLE001 - whatever it was, the next look may succeed, and without any lists grow old
                _log.exception("revocation lists could not be looked at")
            await asyncio.sleep(every)


def _told(one: RevocationList) -> dict[str, object]:
    return {
        "authority": one.authority_key_id,
        "number": one.number,
        "next_update": one.next_update.isoformat(),
        "revoked": len(one.serials),
    }


def _file(path: Path, error: ConfigError) -> dict[str, object]:
    return {"file": str(path), "error": str(error)}
