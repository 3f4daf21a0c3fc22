"""Session keys as a centre would hand them out, and what belongs to them, computed by foreign software."""

from __future__ import annotations

from yubikit.core.smartcard.scp import ScpState, SessionKeys

S_ENC = bytes(range(0x10, 0x20))
S_MAC = bytes(range(0x40, 0x50))
HOST_CRYPTOGRAM = bytes(range(0xA0, 0xA8))
AUTHENTICATION = bytes.fromhex("8482130010") + HOST_CRYPTOGRAM


def foreign_channel(s_mac: bytes = S_MAC) -> tuple[ScpState, bytes]:
    """Return yubikit's channel after EXTERNAL AUTHENTICATE, and that command."""
    state = ScpState(SessionKeys(key_senc=S_ENC, key_smac=s_mac, key_srmac=bytes(16)))
    return state, AUTHENTICATION + state.mac(AUTHENTICATION)


def external_authenticate(s_mac: bytes) -> bytes:
    """Return the ready-made command that belongs to this S-MAC."""
    return foreign_channel(s_mac)[1]
