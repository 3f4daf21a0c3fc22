"""The id of the running attempt, on disk: so that a server that was restarted can tell how it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

FILE = "attempt.json"
OWNER_ONLY = 0o600


class MemoryUnusable(Exception):
    """The state directory cannot be written; the message names it."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """An attempt that was running."""

    attempt_id: str
    accepted: bool  # the daemon sent a view of it


class Memory:
    """One small file. The calls block for a synced write of a few bytes, and for that of its folder."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def prepare(self) -> None:
        """Make sure that the directory can be written. Raises MemoryUnusable."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self._path.with_suffix(".probe")
            probe.touch(OWNER_ONLY)
            probe.unlink()
        except OSError as error:
            raise MemoryUnusable(f"{self._path.parent}: {error.strerror}") from error

    def load(self) -> Remembered | None:
        """Return the attempt that was running when the server ended; None when there was none."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def save(self, remembered: Remembered) -> None:
        """Replace what is remembered, durably. Raises MemoryUnusable."""
        new = self._path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
            try:
                os.write(descriptor, msgspec.json.encode(remembered))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.replace(self._path)
            self._sync_folder()
        except OSError as error:
            raise MemoryUnusable(f"{self._path}: {error.strerror}") from error

    def forget(self) -> None:
        """Remember nothing. A file that cannot be removed is harmless: its attempt has ended."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return

    def _sync_folder(self) -> None:
        """Make a new name last: a file's own sync says nothing of the folder that names it (fsync(2))."""
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
