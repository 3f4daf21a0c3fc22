"""What every test may use."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """End as on Ctrl-C when asked to end: fixtures are torn down, nothing is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
