"""The composition root: builds every object of the daemon, starts what lives as long as it, and stops it in order."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gatewayd import __version__
from gatewayd.central.circuit import CircuitState
from gatewayd.central.client import CentralClient
from gatewayd.central.renewal import Renewal
from gatewayd.central.settings import CentralSettings
from gatewayd.clock import Clock
from gatewayd.config import Config
from gatewayd.errors import ConfigError
from gatewayd.journal.store import Journal
from gatewayd.logs import tell_loop_fault
from gatewayd.metrics import Metrics
from gatewayd.notify import notify
from gatewayd.reader.hooks import LOCK_FAILURE_REASONS, ReaderHooks
from gatewayd.reader.service import PcscReader
from gatewayd.recovery import PcscdRestart
from gatewayd.reload import Reload
from gatewayd.rpc.gateway_service import GatewayService
from gatewayd.rpc.interceptors import Guard
from gatewayd.rpc.operator_service import OperatorService
from gatewayd.rpc.reset_service import ResetService
from gatewayd.rpc.server import Server, for_front_ends, for_operators
from gatewayd.scrapes import Scrapes
from gatewayd.session.drain import end_attempt, send_reports
from gatewayd.session.manager import Manager
from gatewayd.session.outbox import Outbox
from gatewayd.session.ports import Ports
from gatewayd.session.readiness import KNOWN, Problem, Readiness
from gatewayd.session.reasons import ENDINGS, LEASE_REFUSALS
from gatewayd.session.resolution import Resolution
from gatewayd.watchdog import feed_watchdog, watchdog_limit_s

STOP_GRACE_S = 2.0  # for calls that are still open after the drain
HURRIED_GRACE_S = 0.2  # the same after a second signal

log = logging.getLogger(__name__)


async def serve(config: Config, clock: Clock, reread: Callable[[], Config]) -> None:
    """Run the daemon until SIGTERM or SIGINT; on SIGHUP `reread` gives the configuration anew, or raises ConfigError.

    Raises ConfigError or JournalUnavailable when it cannot start, and an ExceptionGroup when a background task died.
    """
    asyncio.get_running_loop().set_exception_handler(tell_loop_fault)
    signals = Signals()
    with signals.heard():
        await _serve(config, clock, reread, signals)


@dataclass(frozen=True, slots=True)
class Daemon:
    """What lives as long as the daemon, each part connected to those it needs."""

    config: Config
    clock: Clock
    metrics: Metrics
    scrapes: Scrapes
    central: CentralClient
    reader: PcscReader
    outbox: Outbox
    resolution: Resolution
    manager: Manager
    readiness: Readiness
    server: Server
    central_changed: Callable[[], None]
    journal_moved: asyncio.Event


async def _serve(config: Config, clock: Clock, reread: Callable[[], Config], signals: Signals) -> None:
    """Run the daemon until it is told to stop; raises as `serve` does."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        stack.enter_context(only_instance(Path(config.api.socket), "api"))
        stack.enter_context(only_instance(Path(config.operators.socket), "operators"))
        daemon = await build(config, clock, stack, tasks)
        await daemon.server.start()
        background = [tasks.create_task(work, name=name) for name, work in for_life(daemon, reread, signals)]
        daemon.server.ready()
        notify("READY=1")
        served = {
            "socket": config.api.socket,
            "operators_socket": config.operators.socket,
            "metrics_address": daemon.scrapes.address,
        }
        log.info("serving", extra=served)
        gc.collect()
        gc.freeze()  # all this lives as long as the daemon: looking through it again would stop an attempt for 30 ms

        await signals.stop.wait()
        notify("STOPPING=1")
        log.info("stopping")
        await end_attempt(daemon.manager)
        await daemon.readiness.end_watches()
        await take_leave(daemon.server, daemon.outbox, signals.hurry)
        for task in background:
            task.cancel()
    log.info("stopped")


async def build(config: Config, clock: Clock, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> Daemon:
    """Return the daemon's parts, none of them serving yet; `stack` closes them, `tasks` runs what they start.

    Raises ConfigError, JournalUnavailable.
    """
    metrics = make_metrics(clock)
    scrapes = Scrapes(metrics.registry, config.metrics, credentials())
    stack.callback(scrapes.close)

    journal = await Journal.open(Path(config.journal.path), clock, metrics.committed)
    stack.push_async_callback(journal.close)
    for recovered in await journal.recover():
        metrics.attempt_recovered(recovered.outcome)
        log.warning("closed by the restart", extra={"attempt_id": recovered.attempt_id, "outcome": recovered.outcome})

    central_news, journal_moved = asyncio.Event(), asyncio.Event()

    def central_changed(*, back: bool = True) -> None:
        central_news.set()
        if back:
            outbox.poke()  # what waits for the centre waits no longer than it is away

    central = make_central(config, clock, metrics, central_changed)
    stack.push_async_callback(central.close)

    reader = PcscReader(config.reader.name, clock, reader_hooks(metrics))
    reader.start()
    stack.push_async_callback(reader.close)

    def receipt_refused() -> None:
        metrics.receipt_refused()
        central_news.set()  # the attempt is unknown now: status and metrics are to tell it at once

    outbox = Outbox(journal, central, clock, receipt_refused, journal_moved.set)
    resolution = Resolution(journal, central, clock, journal_moved.set)

    def spawn(work: Coroutine[None, None, None]) -> None:
        # What an attempt leaves in circles goes when it is over: half a millisecond now, and none during the next.
        tasks.create_task(work).add_done_callback(lambda _: gc.collect())

    ports = Ports(reader, central, journal, outbox, metrics, clock, spawn)
    manager = Manager(ports)
    readiness = Readiness(manager, ports, central_news)
    gateway = GatewayService(manager, readiness)
    endpoints = (
        for_front_ends(config.api.socket, config.api.group, ResetService(manager), gateway),
        for_operators(config.operators.socket, config.operators.group, gateway, OperatorService(manager)),
    )
    server = Server(endpoints, Guard(metrics, clock))
    return Daemon(
        config,
        clock,
        metrics,
        scrapes,
        central,
        reader,
        outbox,
        resolution,
        manager,
        readiness,
        server,
        central_changed,
        journal_moved,
    )


def for_life(
    daemon: Daemon, reread: Callable[[], Config], signals: Signals
) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
    """Yield what runs beside the calls until the daemon stops, each with its name."""
    reader, clock, settings = daemon.reader, daemon.clock, daemon.config.reader
    certificates_wanted = asyncio.Event()

    async def tell(problems: tuple[Problem, ...]) -> None:
        tell_status(problems)
        daemon.server.admits(not problems)

    yield "reader watch", daemon.manager.watch_reader()
    yield "readiness", daemon.readiness.poll()
    yield "connection watch", daemon.central.watch_connection(daemon.central_changed)
    yield "announcements", daemon.readiness.announce(tell)
    yield "outbox", daemon.outbox.run()
    yield "counts", daemon.readiness.count(daemon.journal_moved)
    yield "resolution", daemon.resolution.run()
    yield "renewal", Renewal(daemon.central, clock, daemon.metrics.certificates, certificates_wanted).run()
    yield "reload", Reload(daemon.config, reread, clock).run(signals.reload, certificates_wanted.set)
    if request := settings.pcscd_restart_request:
        asked = daemon.metrics.pcscd_restart_asked
        restart = PcscdRestart(clock, Path(request), settings.pcscd_restart_after_s, asked)
        yield "pcscd restart", restart.run(lambda: reader.state.problem is not None)
    if limit := watchdog_limit_s():
        yield "watchdog", feed_watchdog(clock, limit, lambda: reader.stuck_for_s < settings.stuck_limit_s)


class Signals:
    """What the service manager wants; each is an event that stays set."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()  # SIGTERM or SIGINT
        self.hurry = asyncio.Event()  # the second one
        self.reload = asyncio.Event()  # SIGHUP; cleared by whoever reloads

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take the signals on the running loop, and ignore them for the rest of the process's life.

        A closed loop gives its signals their defaults back: one more of them would then kill a daemon that has done all
        its work, and its exit code would say so.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)  # lets every other signal wake the loop as well
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop_asked))
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _stop_asked(self) -> None:
        if self.stop.is_set():
            log.info("stopping faster")
            self.hurry.set()
        self.stop.set()


async def take_leave(server: Server, outbox: Outbox, hurry: asyncio.Event) -> None:
    """Let callers and the centre hear the last of it; when in a hurry, hardly."""
    last_words = asyncio.gather(server.stop(STOP_GRACE_S), send_reports(outbox))
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait((last_words, hurried), return_when=asyncio.FIRST_COMPLETED)
    if not last_words.done():
        await server.stop(HURRIED_GRACE_S)
        last_words.cancel()
    hurried.cancel()
    await asyncio.gather(last_words, hurried, return_exceptions=True)


def tell_status(problems: tuple[Problem, ...]) -> None:
    """Show the service manager whether an attempt could begin."""
    notify("STATUS=" + ("ready" if not problems else "not ready: " + ", ".join(problem.value for problem in problems)))


def make_metrics(clock: Clock) -> Metrics:
    """Return the metrics on a registry of their own, with those of process and interpreter."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry, clock)
    metrics.begin(ENDINGS, LEASE_REFUSALS, LOCK_FAILURE_REASONS, KNOWN)
    metrics.build(__version__)
    return metrics


def reader_hooks(metrics: Metrics) -> ReaderHooks:
    """Connect what the reader tells to the metrics."""
    return ReaderHooks(
        lock_taken=metrics.lock_taken,
        lock_released=metrics.lock_released,
        lock_waited=metrics.lock_waited,
        lock_held=metrics.lock_held,
        lock_failed=metrics.lock_failed,
        reconnected=metrics.reconnected,
    )


class Changed(Protocol):
    """Hears that the way to the centre is another than before, and whether it is back."""

    def __call__(self, *, back: bool) -> None: ...  # noqa: D102 - the class says it


def make_central(config: Config, clock: Clock, metrics: Metrics, changed: Changed) -> CentralClient:
    """Return the client of the centre, connected to the metrics; `changed` hears of its circuit. Raises ConfigError."""
    states = [state.value for state in CircuitState]

    def on_circuit(state: CircuitState) -> None:
        metrics.central_circuit(state.value, states)
        changed(back=state is CircuitState.CLOSED)

    client = CentralClient(central_settings(config), clock, metrics.central_request, on_circuit)
    metrics.certificates(client.certificate_expiry)
    metrics.central_circuit(client.circuit.value, states)
    return client


def central_settings(config: Config) -> CentralSettings:
    """Return what the central client needs of the configuration."""
    central = config.central
    folder = credentials()
    return CentralSettings(
        address=central.address,
        certificate=folder / central.certificate,
        key=folder / central.key,
        authority=folder / central.authority,
        server_name=central.server_name,
    )


def credentials() -> Path:
    """Return where the service manager's credentials lie; an absolute path put behind it stays what it is."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", ""))


@contextmanager
def only_instance(socket: Path, section: str) -> Iterator[None]:
    """Hold a lock beside the socket for life: gRPC would silently take a live socket over from another daemon.

    Raises ConfigError when another daemon holds it, or the directory cannot be written.
    """
    path = socket.with_name(socket.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror} - at `$.{section}.socket`") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(f"{path}: another gatewayd serves this socket - at `$.{section}.socket`") from error
    try:
        yield
    finally:
        os.close(descriptor)
