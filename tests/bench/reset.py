"""`make bench`: the machine time of a whole reset against the floor, pair by pair, and what else operators ask.

    python -m tests.bench.reset [--pairs 500] [--idle 60] [--page docs/PERFORMANCE.md] [--json FILE]

Machine time is what passes from each input of the front-end (start, PIN, new password) until the view that asks for the
next is there, seen from the front-end. The card lies on the reader before the start, so no wait for a look of the PC/SC
service is in it. The centre is the real one, on SQLite; the card is simulated, behind the real PC/SC service. The floor
(`floor`) is passed in turn with the resets, by a card in a second reader, so that what disturbs one disturbs the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.bench import figures, page, surroundings
from tests.bench.figures import Machine, Pair, Results
from tests.bench.floor import Floor
from tests.bench.pairs import PASSWORD, USER_PIN, Pairs
from tests.rig.citizen import Citizen
from tests.rig.front_end import FrontEnd
from tests.rig.interrupt import end_in_order
from tests.rig.pcscd import PHONE
from tests.rig.process import ROOT, Process, RigError
from tests.rig.progress import Progress
from tests.rig.site import LOCKED, Site
from tests.rig.stack import Stack

PAIRS, IDLE_SECONDS = 500, 60.0
STARTS, UNARY, STREAM, SCRAPES = 10, 1000, 500, 50
SHORT = 0.1  # of each of these, when there are few pairs
WARM_UP = 20  # pairs, unless fewer are measured
LINES = 10  # of progress
BARE_CARD = "forgotten"  # of the floor; its persona does not matter


@contextlib.contextmanager
def bare_server(site: Site, log: Path) -> Iterator[str]:
    """Run the server that does nothing; yield its address."""
    command: list[str | Path] = [sys.executable, "-m", "tests.bench.bare_server", site.central]
    with Process("bare server", command, log=log, env={"PYTHONPATH": str(ROOT)}) as process:
        yield str(process.wait_for_event("serving")["address"])


async def pairs_of(
    stack: Stack, front: FrontEnd, floor: Floor, count: int, progress: Progress
) -> tuple[Pairs, list[Pair]]:
    """Make so many pairs after some to warm up, and tell how they go."""
    pairs, made = Pairs(stack, front, floor), list[Pair]()
    for number in range(min(WARM_UP, count)):
        await pairs.make(number)
    for number in range(1, count + 1):
        made.append(await pairs.make(number))
        if number % max(1, count // LINES) == 0 or number == count:
            progress.done(f"{number} pairs: {page.line(made)}")
    return pairs, made


async def measure(site: Site, directory: Path, count: int, idle_seconds: float, progress: Progress) -> Results:
    """Measure everything."""
    share = SHORT if count < PAIRS * SHORT else 1.0
    load, begun, busy = os.getloadavg()[0], time.perf_counter(), figures.busy_seconds()
    with (
        Stack(directory / "stack", site=site, looks_when_told=True) as stack,
        bare_server(site, directory / "bare.log") as address,
    ):
        progress.done("everything serves")
        start = surroundings.starts(stack, round(STARTS * share) + 1)
        progress.done(f"started {start.count} times: {start.p50:.0f} ms until READY")
        os.environ.update(stack.pcscd.environment)
        stack.cardsim.insert(BARE_CARD, PHONE.lower())
        async with FrontEnd(stack.gatewayd.socket) as front:
            await front.ready()
            citizen = Citizen(stack, front, USER_PIN)
            cpu, idle_rss = await surroundings.idle(citizen, idle_seconds)
            progress.done(f"idle for {idle_seconds:g} s: {cpu:.2%} of a core, {idle_rss:.1f} MiB")
            reader = stack.pcscd.readers[PHONE].name
            async with Floor(site, reader, address, directory / "floor.db", USER_PIN, PASSWORD) as floor:
                pairs, made = await pairs_of(stack, front, floor, count, progress)
            used_rss = figures.rss_mib(stack.gatewayd.process.pid)
            unary = await surroundings.unary(citizen, round(UNARY * share))
            stream = await surroundings.stream(citizen, round(STREAM * share))
            progress.done(f"socket: unary {unary.p50:.2f} ms, stream {stream.p50:.2f} ms")
            scrape, scrape_cpu, size = surroundings.scrape(stack, round(SCRAPES * share))
            progress.done(f"scrape: {scrape.p50:.1f} ms, {size} bytes")
    commit, changed = figures.commit()
    machine = Machine(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=commit,
        changed=changed,
        processor=figures.processor_name(),
        cores=os.cpu_count() or 0,
        memory_gib=figures.memory_gib(),
        system=f"Linux {platform.release()}, Python {platform.python_version()}",
        load=load,
        busy=(figures.busy_seconds() - busy) / (time.perf_counter() - begun),
    )
    figures.demand_alike(made, pairs.counts)
    apdus, calls, commits = pairs.counts
    return Results(
        machine=machine,
        pairs=made,
        apdus=apdus,
        calls=calls,
        commits=commits,
        unary=unary,
        stream=stream,
        start=start,
        idle_seconds=idle_seconds,
        idle_cpu=cpu,
        idle_rss_mib=idle_rss,
        used_rss_mib=used_rss,
        scrape=scrape,
        scrape_cpu_ms=scrape_cpu,
        scrape_bytes=size,
    )


def main() -> int:
    """Measure, print, and write down what is asked for."""
    end_in_order()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds of idleness to look at")
    parser.add_argument("--page", type=Path, help="page to write the results into, with a plot beside it")
    parser.add_argument("--site", type=Path, help="a centre, a kiosk and both cards, to be copied; else made first")
    parser.add_argument("--json", type=Path, help="file to write every figure to")
    words = parser.parse_args()
    progress = Progress()
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            directory = Path(folder)
            site = Site(words.site) if words.site else Site.make(directory / "site", [LOCKED, BARE_CARD])
            results = asyncio.run(measure(site, directory, words.pairs, words.idle, progress))
    except RigError as error:
        progress.failed(str(error))
        return 1
    except KeyboardInterrupt:
        progress.note("\nstopped; nothing is written, nothing left behind")
        return 130
    progress.note("")
    progress.quote(page.text(results).splitlines())
    if words.json:
        words.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    if words.page:
        page.write(results, words.page)
        progress.note(f"\nwritten into {words.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
