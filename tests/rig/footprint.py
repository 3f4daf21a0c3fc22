"""What a program holds right now, as the kernel tells it: to see that nothing is kept."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

GRPC_POOL = "event_engine"  # the name that gRPC gives the threads of its pool
# What gRPC keeps of them: one for each core, 4 to 16. It starts another, at most one a second, while all are at work,
# without an upper bound; one beyond the reserve ends when it has had no work for 20 s (its src/core/lib/event_engine:
# posix_engine/posix_engine.cc, thread_pool/work_stealing_thread_pool.cc).
GRPC_RESERVE = min(max(os.sysconf("SC_NPROCESSORS_CONF"), 4), 16)


@dataclass(frozen=True)
class Footprint:
    """Of a daemon and of the PC/SC service it uses, which keeps a thread and a socket for each of its contexts."""

    threads: int  # without gRPC's pool
    pool_threads: int
    descriptors: int
    service_threads: int
    service_descriptors: int
    resident_kib: int

    @classmethod
    def of(cls, daemon: int, service: int) -> Self:
        """Look at two running processes."""
        pool = _threads(daemon, GRPC_POOL)
        return cls(
            threads=_status(daemon, "Threads") - pool,
            pool_threads=pool,
            descriptors=_open(daemon),
            service_threads=_status(service, "Threads"),
            service_descriptors=_open(service),
            resident_kib=_status(daemon, "VmRSS"),
        )

    @property
    def held(self) -> tuple[int, int, int, int]:
        """Everything but the memory and gRPC's pool."""
        return self.threads, self.descriptors, self.service_threads, self.service_descriptors

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"{self.threads} + {self.pool_threads} threads, {self.descriptors} descriptors,"
            f" {self.resident_kib / 1024:.1f} MiB; "
            f"PC/SC service: {self.service_threads} threads, {self.service_descriptors} descriptors"
        )


def _status(process: int, key: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)


def _threads(process: int, name: str) -> int:
    found = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            found += (thread / "comm").read_text().strip() == name
    return found


def _open(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
