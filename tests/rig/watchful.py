"""A PC/SC service that looks at once when the rig moves a card, for runs by the hundred: else each move costs 0.2 s.

The shim beside this file is preloaded into the private service, and nothing else in it changes. How soon a kiosk sees a
card is not measured with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.rig.process import ROOT, run

SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = ROOT / ".cache/watchful.so"


def environment(file: Path) -> dict[str, str]:
    """Return what the service needs in its environment to look whenever this file is touched. Raises RigError."""
    file.touch()
    return {"LD_PRELOAD": str(_built()), "WATCHFUL_FILE": str(file)}


def _built() -> Path:
    if not LIBRARY.exists() or LIBRARY.stat().st_mtime < SOURCE.stat().st_mtime:
        LIBRARY.parent.mkdir(exist_ok=True)
        new = LIBRARY.with_suffix(f".{os.getpid()}")
        run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", new, SOURCE])
        new.replace(LIBRARY)
    return LIBRARY
