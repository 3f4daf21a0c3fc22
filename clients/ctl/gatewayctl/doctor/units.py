"""What systemd's files say, as far as the doctor asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
PCSCD, GATEWAYD = "pcscd.service", "gatewayd.service"
CREDENTIALS = f"run/credentials/{GATEWAYD}"


def lines_of(root: Path, unit: str) -> Iterator[tuple[Path, str, str]]:
    """Yield file, key and value of every assignment in a unit and its drop-ins."""
    for folder in FOLDERS:
        for path in (root / folder / unit, *sorted((root / folder / f"{unit}.d").glob("*.conf"))):
            for key, value in assignments(path):
                yield path, key, value


def assignments(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines `key=value` of a file; nothing when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            yield key.strip(), value.strip()


def loaded_credential(root: Path, name: str) -> Path:
    """Return where the running daemon reads a credential."""
    return root / CREDENTIALS / name


def credential_source(root: Path, name: str) -> Path | None:
    """Return the file of which systemd makes a credential when it starts the daemon."""
    for _, key, value in lines_of(root, GATEWAYD):
        if key == "LoadCredential" and value.partition(":")[0] == name:
            return root / value.partition(":")[2].lstrip("/")
    return None
