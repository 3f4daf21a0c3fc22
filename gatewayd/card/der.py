"""The length of a DER structure, from its first bytes; a certificate is not parsed in the daemon."""

from __future__ import annotations

from gatewayd.errors import CardProtocolError

_SEQUENCE = 0x30  # ITU-T X.690 8.9, 8.14: universal, constructed, 16
_LONG_FORM = 0x80  # ITU-T X.690 8.1.3.5: the low bits count the length octets
_MAX_LENGTH_OCTETS = 2  # 65,535 bytes; far above every limit here
_TAG_AND_LENGTH = 2


def sequence_length(head: bytes, *, limit: int) -> int:
    """Return the total length of the SEQUENCE that begins with `head`, tag and length octets included.

    Raises CardProtocolError when it is no SEQUENCE of definite, shortest length (ITU-T X.690 10.1) or is longer than
    `limit` bytes.
    """
    if len(head) < _TAG_AND_LENGTH or head[0] != _SEQUENCE:
        raise CardProtocolError("the certificate file does not begin with a SEQUENCE")
    length = head[1]
    start = _TAG_AND_LENGTH
    if length >= _LONG_FORM:
        count = length - _LONG_FORM
        octets = head[start : start + count]
        if not 1 <= count <= _MAX_LENGTH_OCTETS or len(octets) != count:
            raise CardProtocolError("the certificate's length is not readable")
        length = int.from_bytes(octets)
        if not octets[0] or length < _LONG_FORM:
            raise CardProtocolError("the certificate's length is not in its shortest form")
        start += count
    if start + length > limit:
        raise CardProtocolError(f"a certificate of {start + length} bytes is more than {limit}")
    return start + length
