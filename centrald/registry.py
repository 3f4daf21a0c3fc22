"""Registry entries as card issuance hands them over: one JSON object, or one a line."""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec

from centrald.cardkeys import DIVERSIFICATION_BYTES
from centrald.errors import ConfigError
from centrald.rules.model import CardEntry, CertificateId, Procedure

_Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-fA-F]{1,64})$")]
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

    def card(self) -> CardEntry:
        data = bytes.fromhex(self.diversification_data)
        if len(data) != DIVERSIFICATION_BYTES:
            raise ValueError(f"diversification_data has {DIVERSIFICATION_BYTES} bytes")
        if self.signing_not_before.tzinfo is None or self.signing_not_after.tzinfo is None:
            raise ValueError("signing_not_before and signing_not_after need a time zone")
        return CardEntry(
            certificate=CertificateId(self.user_authority_key_id.lower(), serial(self.user_certificate_serial)),
            signing_certificate_serial=serial(self.signing_certificate_serial),
            signing_not_before=self.signing_not_before,
            signing_not_after=self.signing_not_after,
            diversification_data=data,
            key_versions={Procedure.SIGNING_PASSWORD: self.key_versions.signing_password},
        )


def serial(text: str) -> str:
    """Return a serial number as the service writes it: lower case, no leading zeros. Raises ConfigError."""
    try:
        return f"{int(text, 16):x}"
    except ValueError:
        raise ConfigError(f"{text!r} is not a hexadecimal number") from None


def parse(text: str) -> list[CardEntry]:
    """Read entries; raises ConfigError naming the line and the field."""
    decoder = msgspec.json.Decoder(_Entry)
    try:
        return [decoder.decode(text).card()]
    except msgspec.ValidationError as error:
        raise ConfigError(f"registry entry: {error}") from None
    except msgspec.DecodeError:  # a ValueError, too
        pass  # not one object; then one a line
    except ValueError as error:
        raise ConfigError(f"registry entry: {error}") from None
    cards = [_line(decoder, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not cards:
        raise ConfigError("no registry entry")
    return cards


def _line(decoder: msgspec.json.Decoder[_Entry], number: int, line: str) -> CardEntry:
    try:
        return decoder.decode(line).card()
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"registry entry, line {number}: {error}") from None
