"""Values the tests of the rules speak of: one card, one kiosk, noon."""

from __future__ import annotations

import datetime

from centrald.rules.attempt import Evidence
from centrald.rules.model import VALIDITY, CardEntry, CertificateId, FaceMatch, KioskId, Procedure, Transcript
from centrald.rules.reservation import Wish

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
CERTIFICATE = CertificateId("aa", "1")
PROCEDURE = Procedure.SIGNING_PASSWORD
KIOSK = KioskId("a", "b", "c")
TRANSCRIPT = Transcript(0x31, bytes(10), bytes(8), bytes(8))
CARD = CardEntry(CERTIFICATE, "2", NOW, NOW + VALIDITY, bytes(10), {PROCEDURE: 0x31})
CHALLENGES = (bytes(8), bytes(8), bytes(8))
GENUINE = Evidence(TRANSCRIPT, genuine=True)
WISH = Wish(CERTIFICATE, PROCEDURE, FaceMatch.NOT_PERFORMED, bytes(32), b"")
