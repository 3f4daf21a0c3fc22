"""The daemon with 0.8 s of patience for each command of a card, instead of ten. Run like `gatewayd`.

For tests of what comes too late. Everything else is the daemon as it is.
"""

from __future__ import annotations

from functools import partial

from gatewayd import __main__ as daemon
from gatewayd import app
from gatewayd.reader.service import PcscReader
from gatewayd.reader.timing import Timing

APDU_LIMIT_S = 0.8
# Waiting for pcscd to see that a card was lifted is part of a call; pcscd looks every 0.4 s.
TIMING = Timing(apdu_limit=APDU_LIMIT_S, lift_patience=0.5)

if __name__ == "__main__":
    vars(app)["PcscReader"] = partial(PcscReader, timing=TIMING)
    daemon.main()
