"""What a program holds right now, as the kernel tells it: to see that nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Footprint:
    """Of a daemon and of the PC/SC service it uses, which keeps a thread and a socket for each of its contexts."""

    threads: int
    descriptors: int
    service_threads: int
    service_descriptors: int
    resident_kib: int

    @classmethod
    def of(cls, daemon: int, service: int) -> Self:
        """Look at two running processes."""
        memory = _status(daemon, "VmRSS")
        return cls(_status(daemon, "Threads"), _open(daemon), _status(service, "Threads"), _open(service), memory)

    @property
    def held(self) -> tuple[int, int, int, int]:
        """Everything but the memory."""
        return self.threads, self.descriptors, self.service_threads, self.service_descriptors

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.threads} threads, {self.descriptors} descriptors, {self.resident_kib / 1024:.1f} MiB; "
            f"PC/SC service: {self.service_threads} threads, {self.service_descriptors} descriptors"
        )


def _status(process: int, key: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)


def _open(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
