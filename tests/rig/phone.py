"""The phone's side of the reservation, through its own command line."""

from __future__ import annotations

from collections.abc import Mapping

from tests.rig.process import BIN, run


def reserve(environment: Mapping[str, str], user_pin: str) -> str:
    """Reserve with the card that lies on the phone, and return the command's output. Raises RigError when refused."""
    return run([BIN / "jpki-phone", "reserve"], env=environment, stdin=f"{user_pin}\n")
