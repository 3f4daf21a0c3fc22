"""Which kiosk calls: the URI name of its client certificate, read anew for every call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from centrald import kioskname
from centrald.errors import NotIdentified
from centrald.rules.model import KioskId

# Properties of gRPC's auth context.
_NAMES = "x509_subject_alternative_name"  # one value for each name
_TLS_VERSION = "ssl_tls_version"
_TLS_1_3 = [b"TLSv1.3"]


def kiosk_of(auth_context: Mapping[str, Iterable[bytes]]) -> KioskId:
    """Return the kiosk the call's certificate names; raises NotIdentified unless it names exactly one, over TLS 1.3.

    gRPC's Python API cannot raise the lowest version of a listener above 1.2, so it is refused here, call by call.
    """
    if list(auth_context.get(_TLS_VERSION, ())) != _TLS_1_3:
        raise NotIdentified("TLS 1.3 is required")
    names = [kioskname.kiosk_of(name.decode("utf-8", "replace")) for name in auth_context.get(_NAMES, ())]
    if len(names) != 1 or names[0] is None:
        raise NotIdentified("the client certificate names no kiosk")
    return names[0]
