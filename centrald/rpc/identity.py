"""Which kiosk calls: the URI name of its client certificate, read anew for every call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from centrald import kioskname
from centrald.errors import NotIdentified
from centrald.rules.model import KioskId

_NAMES = "x509_subject_alternative_name"  # property of gRPC's auth context, one value for each name


def kiosk_of(auth_context: Mapping[str, Iterable[bytes]]) -> KioskId:
    """Return the kiosk the call's certificate names; raises NotIdentified unless it names exactly one."""
    names = [kioskname.kiosk_of(name.decode("utf-8", "replace")) for name in auth_context.get(_NAMES, ())]
    if len(names) != 1 or names[0] is None:
        raise NotIdentified("the client certificate names no kiosk")
    return names[0]
