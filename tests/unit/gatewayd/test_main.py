"""What the daemon asks of the kernel for itself before it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gatewayd.__main__ import TIMER_SLACK_NS
from tests.rig.process import ROOT
from tests.unit.gatewayd.test_config import GOOD, written

SECONDS = 30.0
# In place of serving, each thread says by how much the kernel may end its waits late (prctl(2), PR_GET_TIMERSLACK).
PROGRAM = """
import ctypes, sys, threading
from pathlib import Path
from gatewayd import __main__, app

def tell():
    print(ctypes.CDLL(None).prctl(30, 0, 0, 0, 0), flush=True)

async def serve(*_):
    tell()
    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()

app.serve = serve
sys.exit(__main__.run(Path(sys.argv[1]), check=False))
"""


def test_every_wait_may_end_late(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, written(tmp_path, GOOD)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout.split(), done.returncode) == ([str(TIMER_SLACK_NS)] * 2, 0), done.stderr
