"""How many whole attempts a second the centre carries, and how long each call takes.

    python -m tests.bench.central [--seconds 10] [--sizes 10000 1000000] [--only postgresql] [--page FILE]

A whole attempt is eight calls: challenge, reservation, service status, begin, check, authorise, report, release. Load
generator, services and database share the machine; the load generator signs for real. `busy` has as many kiosks as
fill the machine, `calm` has two, so that the times are the calls' own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import itertools
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from centrald.config import CONFIG_NAME, Storage, template
from centrald.initialize import initialize
from centrald.rules.model import KioskId
from centrald.storage.database import Database
from tests.bench import central_page
from tests.bench.central_rows import careless, fill_postgres, fill_sqlite
from tests.rig.interrupt import end_in_order, run
from tests.rig.parts import Centrald
from tests.rig.postgres import Postgres
from tests.rig.site import Site
from tests.rig.swarm import Figures, SoftCard, Visitor, issue, patient

BUSY, CALM = 16, 2  # kiosks
CARDS = 20  # of each kiosk
WARM_SECONDS = 0.7
ROUNDS = 4
_TICKS = os.sysconf("SC_CLK_TCK")
_CALLS = (
    "GetChallenge",
    "CreateReservation",
    "GetServiceStatus",
    "BeginAttempt",
    "CheckReservation",
    "AuthorizeReset",
    "ReportOutcome",
    "ReleaseAttempt",
)


def cpu_seconds(pid: int) -> float:
    """Return what a process and its children, also ended ones, have used."""
    own = _stat(pid)
    children = (
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    )
    return sum(int(own[at]) for at in range(11, 15)) / _TICKS + sum(cpu_seconds(child) for child in children)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


@dataclass
class Sample:
    """What was seen in all rounds of one measurement."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # seconds, by part
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by call

    def summary(self) -> dict[str, Any]:
        """Return what is published."""
        rate = len(self.milliseconds["ReleaseAttempt"]) / self.seconds
        # Never below nothing, whichever clock was read first: the machine's counts hundredths of a second.
        cores = {name: max(0.0, used) / self.seconds for name, used in self.cpu.items()}
        return {
            "attempts_per_second": rate,
            "cores": cores,
            "cpu_ms_per_attempt": {name: 1000 * share / rate for name, share in cores.items() if name != "others"},
            "calls": {name: _quantiles(self.milliseconds[name]) for name in _CALLS},
            "all_calls": _quantiles([one for values in self.milliseconds.values() for one in values]),
        }


class Field:
    """One database with its services."""

    def __init__(self, directory: Path, initialized: Path, url: str, services: int, cards: list[SoftCard]) -> None:
        """Make a directory for each service."""
        self._initialized = initialized
        self._url = url
        self._cards = cards
        self._sites = [Site(directory / str(number)) for number in range(services)]
        for site in self._sites:
            shutil.copytree(initialized, site.central)
            (site.central / CONFIG_NAME).write_text(patient(template(always_open=True, storage_url=url)))

    async def prepare(self) -> None:
        """Make tables, kiosks and cards."""
        database = Database.open(self._url, self._sites[0].central)
        await database.migrate()
        async with database.transaction() as tx:
            for number in range(BUSY):
                await tx.fleet.add(KioskId("c", "s", f"k{number}"))
            for card in self._cards:
                await tx.save_card(card.entry, new=True)
        await database.close()

    @contextlib.contextmanager
    def centres(self, count: int) -> Iterator[list[Centrald]]:
        """Run so many services."""
        running = [Centrald(site, log=site.directory / "log") for site in self._sites[:count]]
        try:
            for centre in running:
                centre.start()
            yield running
        finally:
            for centre in running:
                centre.close()

    async def load(
        self, centres: Sequence[Centrald], kiosks: int, seconds: float, servers: Sequence[int], sample: Sample
    ) -> None:
        """Let so many kiosks make attempts for some seconds; `servers`: processes of the database."""
        figures = Figures()
        visitors = [
            Visitor(
                self._initialized,
                KioskId("c", "s", f"k{number}"),
                [centres[number % len(centres)].kiosk_address],
                [centres[number % len(centres)].phone_address],
                figures,
            )
            for number in range(kiosks)
        ]
        stop = asyncio.Event()

        async def keep_on(number: int, visitor: Visitor) -> None:
            for card in itertools.cycle(self._cards[number * CARDS : (number + 1) * CARDS]):
                if stop.is_set():
                    return
                await visitor.reserve(card)
                await visitor.reset(card)

        work = [asyncio.create_task(keep_on(*one)) for one in enumerate(visitors)]
        await asyncio.sleep(WARM_SECONDS)
        figures.milliseconds.clear()
        pids = [centre.process.pid for centre in centres]
        used, began = _used(pids, servers), time.perf_counter()
        await asyncio.sleep(seconds)
        sample.seconds += time.perf_counter() - began
        for name, after in _used(pids, servers).items():
            sample.cpu[name] += after - used[name]
        for name, values in figures.milliseconds.items():
            sample.milliseconds[name] += values
        stop.set()
        await asyncio.gather(*work)
        for visitor in visitors:
            await visitor.close()


def _used(centres: Sequence[int], servers: Sequence[int]) -> dict[str, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    ours = {
        "centrald": sum(map(cpu_seconds, centres)),
        "database": sum(map(cpu_seconds, servers)),
        "load": own.ru_utime + own.ru_stime,
    }
    machine = [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = (sum(machine) - machine[3] - machine[4]) / _TICKS  # proc(5): the fourth and fifth are idle and iowait
    return {**ours, "others": busy - sum(ours.values())}


def _quantiles(values: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cut[49], "p99": cut[98], "count": len(values)}


async def measure(
    kind: str, fields: dict[int, Field], counts: Sequence[int], servers: Sequence[int], seconds: float
) -> list[dict[str, Any]]:
    """Measure databases of several sizes with each number of services, in turns: what disturbs one disturbs all."""
    results = []
    for count in counts:
        with contextlib.ExitStack() as stack:
            centres = {size: stack.enter_context(one.centres(count)) for size, one in fields.items()}
            for name, kiosks in (("calm", CALM), ("busy", BUSY)):
                samples = {size: Sample() for size in fields}
                for _ in range(ROUNDS):
                    for size, one in fields.items():
                        await one.load(centres[size], kiosks, seconds / ROUNDS, servers, samples[size])
                for size, sample in samples.items():
                    what = {"database": kind, "reservations": size, "centres": count, "load": name, "kiosks": kiosks}
                    row = {**what, **sample.summary()}
                    results.append(row)
                    _show(row)
    return results


def _show(row: dict[str, Any]) -> None:
    cores = ", ".join(f"{name} {share:.2f}" for name, share in row["cores"].items())
    cost = ", ".join(f"{name} {share:.1f}" for name, share in row["cpu_ms_per_attempt"].items())
    every = row["all_calls"]
    _say(
        f"{row['database']:<10} {row['reservations']:>9,} {row['centres']} {row['load']:<4}"
        f" {row['attempts_per_second']:6.1f}/s  p50 {every['p50']:.1f} p99 {every['p99']:.1f} ms"
        f"  cores: {cores}; CPU ms an attempt: {cost}"
    )
    _say("   " + "  ".join(f"{name} {one['p50']:.1f}/{one['p99']:.1f}" for name, one in row["calls"].items()))


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Measure what is asked for, and print it; with --json also as one document."""
    end_in_order()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000], help="reservations in the table")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--page", type=Path, help="page whose place for these figures is filled")
    words = parser.parse_args()
    began = time.perf_counter()
    _say(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder, contextlib.ExitStack() as until_done:
            results = _measured(Path(folder), until_done, words)
    except KeyboardInterrupt:
        _say("stopped; nothing is written, nothing left behind")
        return 130
    _say(f"all of it took {time.perf_counter() - began:.0f} s")
    if words.json:
        words.json.write_text(json.dumps(results, indent=1))
    if words.page:
        central_page.write(results, words.page)
    return 0


def _measured(folder: Path, until_done: contextlib.ExitStack, words: argparse.Namespace) -> list[dict[str, Any]]:
    """Make and fill every database, one after the other, then measure them."""
    initialized = folder / "initialized"
    initialize(initialized, ["localhost", "127.0.0.1"], always_open=True)
    cards = issue(initialized, BUSY * CARDS, datetime.datetime.now(datetime.UTC))
    results: list[dict[str, Any]] = []
    sqlite: dict[int, Field] = {}
    for size in words.sizes if words.only != "postgresql" else ():
        sqlite[size] = Field(folder / f"sqlite-{size}", initialized, Storage().url, 1, cards)
        run(sqlite[size].prepare())
        fill_sqlite(folder / f"sqlite-{size}/0/central/centrald.db", size, _say)
    os.sync()
    if sqlite:
        results += run(measure("sqlite", sqlite, (1,), (), words.seconds))
    if words.only == "sqlite":
        return results
    server = until_done.enter_context(Postgres(durable=True))
    postgresql: dict[int, Field] = {}
    with careless(server):
        for size in words.sizes:
            name = server.create()
            postgresql[size] = Field(folder / f"postgresql-{size}", initialized, server.url(name), 2, cards)
            run(postgresql[size].prepare())
            fill_postgres(server, name, size, _say)
    return results + run(measure("postgresql", postgresql, (1, 2), (server.pid,), words.seconds))


if __name__ == "__main__":
    sys.exit(main())
