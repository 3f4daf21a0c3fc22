"""What the bench of a reset keeps: figures by name, their statistics, and what the kernel says of a process."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.rig.process import ROOT, RigError, run

MS = 1000.0


class Spread(msgspec.Struct, frozen=True):
    """Many values of one thing, as it is published."""

    p50: float
    p99: float
    mean: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum the values up; the 99th percentile is the nearest rank, so it is one that was seen."""
        ordered = sorted(values)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        return cls(statistics.median(ordered), p99, statistics.fmean(ordered), len(ordered))


class Pair(msgspec.Struct, frozen=True):
    """One pass of the floor and one reset, milliseconds."""

    floor: float
    reset: float
    counts: tuple[int, int, int]  # commands on the card, calls to the centre, commits until the end of the reset
    floor_counts: tuple[int, int, int]  # the same of the floor
    floor_parts: dict[str, float]
    reset_parts: dict[str, float]
    steps: dict[str, float]
    central: dict[str, float]  # calls to the centre, by method
    inputs: dict[str, float]  # from an input to the view that asks next


def demand_alike(pairs: Sequence[Pair], counts: tuple[int, int, int]) -> None:
    """Raise RigError unless each pass of the floor did what most resets did."""
    for pair in pairs:
        if pair.floor_counts != counts:
            raise RigError(f"commands, calls and commits: {pair.floor_counts} of the floor, {counts} of a reset")


class Machine(msgspec.Struct, frozen=True):
    """Where and when."""

    date: str
    commit: str
    changed: bool  # the sources are not those of the commit
    processor: str
    cores: int
    memory_gib: float
    system: str
    load: float  # average of the minute before
    busy: float  # cores in use while it was measured, all programs together


class Results(msgspec.Struct, frozen=True):
    """Everything that was measured."""

    machine: Machine
    pairs: list[Pair]
    apdus: int
    calls: int
    commits: int
    unary: Spread  # ms
    stream: Spread  # ms
    start: Spread  # ms, from exec to READY=1
    idle_seconds: float
    idle_cpu: float  # share of a core
    idle_rss_mib: float
    used_rss_mib: float  # after all the resets
    scrape: Spread  # ms
    scrape_cpu_ms: float
    scrape_bytes: int


def processor_name() -> str:
    """Return what the kernel calls the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib() -> float:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def commit() -> tuple[str, bool]:
    """Return the commit of this checkout, and whether what it holds of programs differs."""
    parts = ["gatewayd", "centrald", "cardsim", "protos"]
    changed = run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "--", *parts])
    return run(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"]).strip(), bool(changed.strip())


def cpu_seconds(pid: int) -> float:
    """Return what a process has used so far, ended threads included: its CPU-time clock, clock_getcpuclockid(3)."""
    scheduled = 2  # CPUCLOCK_SCHED of the kernel's include/linux/posix-timers.h
    return time.clock_gettime((~pid << 3) | scheduled)


def rss_mib(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def busy_seconds() -> float:
    """Return what all programs of this machine have used since it was started (proc(5), /proc/stat)."""
    fields = [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = 3, 4
    return (sum(fields) - fields[idle] - fields[waiting]) / os.sysconf("SC_CLK_TCK")
