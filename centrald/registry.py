"""Entries of the registry as text: the JSON object card issuance hands over, one a line; and the same as CSV."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec

from centrald.errors import ConfigError
from centrald.rules.model import DIVERSIFICATION_BYTES, CardEntry, CertificateId, Procedure

_Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-fA-F]{1,64})\Z")]
_KeyVersion = Annotated[int, msgspec.Meta(ge=1, le=127)]  # GPC_SPE_014 7.1.1.3: P1, key version number


class _KeyVersions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    signing_password: _KeyVersion


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    user_certificate_serial: _Hex
    user_authority_key_id: _Hex
    signing_certificate_serial: _Hex
    signing_not_before: datetime.datetime
    signing_not_after: datetime.datetime
    diversification_data: _Hex
    key_versions: _KeyVersions
    signing_authority_key_id: _Hex | None = None
    user_revoked: bool = False
    signing_revoked: bool = False

    def card(self) -> CardEntry:
        data = bytes.fromhex(self.diversification_data) if len(self.diversification_data) % 2 == 0 else b""
        if len(data) != DIVERSIFICATION_BYTES:
            raise ValueError(f"diversification_data has {DIVERSIFICATION_BYTES} bytes")
        if self.signing_not_before.tzinfo is None or self.signing_not_after.tzinfo is None:
            raise ValueError("signing_not_before and signing_not_after need a time zone")
        try:
            begin, end = (one.astimezone(datetime.UTC) for one in (self.signing_not_before, self.signing_not_after))
        except OverflowError:
            raise ValueError("signing_not_before and signing_not_after lie in the years 1 to 9999 in UTC") from None
        if begin > end:
            raise ValueError("signing_not_before comes after signing_not_after")
        authority = self.signing_authority_key_id
        return CardEntry(
            certificate=CertificateId(self.user_authority_key_id.lower(), serial(self.user_certificate_serial)),
            signing_certificate_serial=serial(self.signing_certificate_serial),
            signing_not_before=begin,
            signing_not_after=end,
            diversification_data=data,
            key_versions={Procedure.SIGNING_PASSWORD: self.key_versions.signing_password},
            user_revoked=self.user_revoked,
            signing_revoked=self.signing_revoked,
            signing_authority_key_id=authority.lower() if authority else None,
        )


class Format(Enum):
    """How entries are written."""

    JSONL = "jsonl"
    CSV = "csv"


_KEY_VERSION = "key_version_signing_password"
_COLUMNS = (*(name for name in _Entry.__struct_fields__ if name != "key_versions"), _KEY_VERSION)
_NEEDED = frozenset(_COLUMNS) - {"signing_authority_key_id", "user_revoked", "signing_revoked"}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a file, or why it is none; the reason names a field and quotes nothing."""

    number: int
    card: CardEntry | None = None
    error: str | None = None


def serial(text: str) -> str:
    """Return a serial number as the service writes it: lower case, no leading zeros. Raises ConfigError."""
    try:
        return f"{int(text, 16):x}"
    except ValueError:
        raise ConfigError(f"{text!r} is not a hexadecimal number") from None


def parse(text: str) -> list[CardEntry]:
    """Read entries, one object or one a line; raises ConfigError naming the line and the field."""
    decoder = msgspec.json.Decoder(_Entry)
    try:
        return [decoder.decode(text).card()]
    except msgspec.ValidationError as error:
        raise ConfigError(f"registry entry: {error}") from None
    except msgspec.DecodeError:  # a ValueError, too
        pass  # not one object; then one a line
    except ValueError as error:
        raise ConfigError(f"registry entry: {error}") from None
    cards = []
    for line in read(io.StringIO(text), Format.JSONL):
        if line.card is None:
            raise ConfigError(f"registry entry, line {line.number}: {line.error}")
        cards.append(line.card)
    if not cards:
        raise ConfigError("no registry entry")
    return cards


def read(lines: Iterable[str], form: Format) -> Iterator[Line]:
    """Read entries one by one, the bad ones with their reason; raises ConfigError for a wrong CSV header."""
    yield from _read_json(lines) if form is Format.JSONL else _read_csv(lines)


def write(cards: Iterable[CardEntry], form: Format) -> Iterator[str]:
    """Write entries, each a line with its end; CSV begins with the header."""
    if form is Format.CSV:
        yield _csv_line(_COLUMNS)
    for card in cards:
        values = _values(card)
        if form is Format.CSV:
            yield _csv_line("" if values[name] is None else str(values[name]) for name in _COLUMNS)
        else:
            version = values.pop(_KEY_VERSION)
            yield msgspec.json.encode(values | {"key_versions": {"signing_password": version}}).decode() + "\n"


def _read_json(lines: Iterable[str]) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(_Entry)
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            yield Line(number, decoder.decode(text).card())
        except (msgspec.DecodeError, ValueError) as error:
            yield Line(number, error=str(error))


def _read_csv(lines: Iterable[str]) -> Iterator[Line]:
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise ConfigError(f"line 1: {error}") from None
    unknown, missing = set(header) - set(_COLUMNS), _NEEDED - set(header)
    if unknown or missing or len(set(header)) != len(header):
        raise ConfigError(f"line 1 must name the columns, each once: {', '.join(_COLUMNS)}")
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Line(reader.line_num, error=str(error))
            continue
        if row is None:
            return
        if row:
            yield _csv_entry(reader.line_num, header, row)


def _csv_entry(number: int, header: list[str], row: list[str]) -> Line:
    if len(row) != len(header):
        return Line(number, error=f"{len(row)} fields instead of {len(header)}")
    given: dict[str, Any] = {name: text.strip() for name, text in zip(header, row, strict=True) if text.strip()}
    if _KEY_VERSION in given:
        given["key_versions"] = {"signing_password": given.pop(_KEY_VERSION)}
    try:
        return Line(number, msgspec.convert(given, _Entry, strict=False).card())
    except ValueError as error:  # msgspec's ValidationError is one
        return Line(number, error=str(error))


def _csv_line(fields: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def _values(card: CardEntry) -> dict[str, Any]:
    return {
        "user_certificate_serial": card.certificate.serial,
        "user_authority_key_id": card.certificate.authority_key_id,
        "signing_certificate_serial": card.signing_certificate_serial,
        "signing_not_before": card.signing_not_before.isoformat(),
        "signing_not_after": card.signing_not_after.isoformat(),
        "diversification_data": card.diversification_data.hex(),
        _KEY_VERSION: card.key_versions[Procedure.SIGNING_PASSWORD],
        "signing_authority_key_id": card.signing_authority_key_id,
        "user_revoked": card.user_revoked,
        "signing_revoked": card.signing_revoked,
    }
