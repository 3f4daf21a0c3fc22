"""Every metric of the daemon: names, labels and one recording function an event.

Label sets are bounded, no label says anything of a citizen. Gauges that show a running wait are read on the scrape's
thread, so they see a stuck one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from gatewayd.clock import Clock

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
HUMAN = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0)

NO_REASON = "none"
PASSWORDS = ("user_pin", "signing_password")
PIN_RESULTS = ("accepted", "wrong", "locked", "unknown")


class Metrics:
    """The daemon's metrics on a registry of their own."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self.registry = registry
        self._clock = clock
        self._lock_since: float | None = None
        self._removal_since: float | None = None

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._lock_wait = histogram(
            "gatewayd_reader_lock_wait_seconds", "From asking for the card to being connected.", (), QUICK
        )
        self._lock_hold = histogram("gatewayd_reader_lock_hold_seconds", "From connect to disconnect.", (), SLOW)
        self._lock_failures = counter("gatewayd_reader_lock_failures", "Connections that could not be had.", "reason")
        self._lock_held = gauge("gatewayd_reader_lock_held", "1 while the card is connected.")
        self._lock_age = gauge(
            "gatewayd_reader_lock_age_seconds", "For how long the card has been connected; 0 when it is not."
        )
        self._lock_held.set_function(lambda: 0.0 if self._lock_since is None else 1.0)
        self._lock_age.set_function(lambda: self._age_s(self._lock_since))
        self._lease_held = gauge("gatewayd_lease_held", "1 while an attempt holds the reader.")
        self._lease_hold = histogram(
            "gatewayd_lease_hold_seconds", "From admission until the card was gone.", (), HUMAN
        )
        self._removal = gauge(
            "gatewayd_card_removal_seconds",
            "For how long a citizen has been asked to take the card; 0 when nobody is.",
        )
        self._removal.set_function(lambda: self._age_s(self._removal_since))
        self._lease_refused = counter("gatewayd_lease_refused", "Attempts that were not admitted.", "reason")
        self._password_locked = counter(
            "gatewayd_card_password_locked", "Cards met with this password locked, or locked here.", "password"
        )
        self._pin_verifications = counter(
            "gatewayd_user_pin_verifications", "VERIFY commands for the user PIN.", "result"
        )
        self._rpc = histogram("gatewayd_rpc_duration_seconds", "RPCs served.", ("method", "code"), SLOW)
        self._machine = histogram(
            "gatewayd_attempt_machine_seconds", "Time of an attempt without the waits for people.", ("outcome",), SLOW
        )
        self._step = histogram(
            "gatewayd_step_duration_seconds", "Steps of an attempt, waits for people excluded.", ("step",), SLOW
        )
        self._apdu = histogram("gatewayd_apdu_duration_seconds", "Commands on the card.", ("command",), QUICK)
        self._central = histogram("gatewayd_central_request_seconds", "Calls to the centre.", ("method", "code"), SLOW)
        self._commit = histogram("gatewayd_journal_commit_seconds", "Durable commits of the journal.", (), QUICK)
        self._attempts = counter("gatewayd_attempts", "Attempts that ended.", "outcome", "reason")
        self._unresolved = gauge("gatewayd_attempts_unresolved", "Attempts whose outcome is unknown and unresolved.")
        self._outbox = gauge("gatewayd_outbox_pending", "Messages the centre has not acknowledged.")
        self._outbox_age = gauge("gatewayd_outbox_oldest_seconds", "Age of the oldest of them; 0 when there is none.")
        self._receipts_refused = counter(
            "gatewayd_receipts_refused", "Cards' receipts that the centre refused: somebody must look."
        )
        self._reconnects = counter("gatewayd_pcsc_reconnects", "New PC/SC contexts after a loss.")
        self._pcscd_restarts = counter(
            "gatewayd_pcscd_restarts_asked", "Requests to restart pcscd because the reader stayed unusable."
        )
        self._reader_up = gauge("gatewayd_reader_up", "1 while the configured reader can be used.")
        self._card_present = gauge("gatewayd_card_present", "1 while a card lies on the reader.")
        self._expiry = gauge(
            "gatewayd_certificate_expiry_timestamp_seconds", "When a certificate of the central channel ends.", "role"
        )
        self._circuit = gauge(
            "gatewayd_central_circuit",
            "1 for the state of the circuit to the centre: closed, half_open or open.",
            "state",
        )
        self._skew = gauge("gatewayd_clock_skew_seconds", "The centre's clock minus ours, when last heard.")
        self._ready = gauge("gatewayd_ready", "1 for each reason that holds; reason none means ready.", "reason")
        self._build = Info("gatewayd_build", "Version of the daemon.", registry=registry)

    def begin(
        self,
        endings: Iterable[tuple[str, str]],
        refusals: Iterable[str],
        lock_failures: Iterable[str],
        problems: Iterable[str],
    ) -> None:
        """Let every series that alerts look at be there from the start, or its first event is no increase.

        `endings` are the outcomes and reasons of attempts, `problems` those of readiness, which begins as not known.
        """
        for outcome, reason in endings:
            self._attempts.labels(outcome, reason)
        for reason in refusals:
            self._lease_refused.labels(reason)
        for reason in lock_failures:
            self._lock_failures.labels(reason)
        for problem in (NO_REASON, *problems):
            self._ready.labels(problem)
        for password in PASSWORDS:
            self._password_locked.labels(password)
        for result in PIN_RESULTS:
            self._pin_verifications.labels(result)

    def _age_s(self, since: float | None) -> float:  # handed over read once: the scrape's thread is not the writer's
        return 0.0 if since is None else self._clock.monotonic() - since

    # --- reader -----------------------------------------------------------------------------------------------------

    def lock_waited(self, seconds: float) -> None:
        """The card was connected after this wait."""
        self._lock_wait.observe(seconds)

    def lock_taken(self) -> None:
        """The card is connected."""
        self._lock_since = self._clock.monotonic()

    def lock_released(self) -> None:
        """The card is disconnected."""
        self._lock_since = None

    def lock_held(self, seconds: float) -> None:
        """The card was connected for so long."""
        self._lock_hold.observe(seconds)

    def lock_failed(self, reason: str) -> None:
        """No connection could be had."""
        self._lock_failures.labels(reason).inc()

    def apdu(self, command: str, seconds: float) -> None:
        """A command was answered, or failed."""
        self._apdu.labels(command).observe(seconds)

    def reconnected(self) -> None:
        """A new PC/SC context replaced a lost one."""
        self._reconnects.inc()

    def pcscd_restart_asked(self) -> None:
        """The service manager was asked to restart pcscd."""
        self._pcscd_restarts.inc()

    def reader(self, *, up: bool, card_present: bool) -> None:
        """The presence watch saw this."""
        self._reader_up.set(up)
        self._card_present.set(card_present)

    # --- attempts ---------------------------------------------------------------------------------------------------

    def lease_taken(self) -> None:
        """An attempt was admitted."""
        self._lease_held.set(1)

    def lease_released(self, seconds: float) -> None:
        """The card is gone; the reader is free."""
        self._lease_held.set(0)
        self.card_to_be_taken(asked=False)
        self._lease_hold.observe(seconds)

    def card_to_be_taken(self, *, asked: bool) -> None:
        """The citizen is asked to take the card, or asked again, or not any more."""
        if not asked:
            self._removal_since = None
        elif self._removal_since is None:  # a reminder is no new beginning
            self._removal_since = self._clock.monotonic()

    def lease_refused(self, reason: str) -> None:
        """An attempt was not admitted."""
        self._lease_refused.labels(reason).inc()

    def password_locked(self, password: str) -> None:
        """A card shows this password locked: one of `PASSWORDS`."""
        self._password_locked.labels(password).inc()

    def pin_verified(self, result: str) -> None:
        """One VERIFY was ordered, with one of `PIN_RESULTS`."""
        self._pin_verifications.labels(result).inc()

    def step(self, step: str, seconds: float) -> None:
        """A step of the machine, not of a person, took this long."""
        self._step.labels(step).observe(seconds)

    def attempt_ended(self, outcome: str, reason: str, machine_seconds: float) -> None:
        """An attempt has its outcome."""
        self._attempts.labels(outcome, reason).inc()
        self._machine.labels(outcome).observe(machine_seconds)

    def attempt_recovered(self, outcome: str) -> None:
        """An attempt that the daemon's end had cut off has its outcome."""
        self._attempts.labels(outcome, NO_REASON if outcome == "done" else "restarted").inc()

    def unresolved(self, count: int) -> None:
        """So many attempts are unknown and unresolved."""
        self._unresolved.set(count)

    # --- centre and journal -----------------------------------------------------------------------------------------

    def central_request(self, method: str, code: str, seconds: float) -> None:
        """A call to the centre ended."""
        self._central.labels(method, code).observe(seconds)

    def committed(self, seconds: float) -> None:
        """The journal made something durable."""
        self._commit.observe(seconds)

    def outbox(self, pending: int, oldest_seconds: float) -> None:
        """So much waits for the centre's acknowledgement."""
        self._outbox.set(pending)
        self._outbox_age.set(oldest_seconds)

    def receipt_refused(self) -> None:
        """The centre refused a card's receipt."""
        self._receipts_refused.inc()

    def certificates(self, expiry: Mapping[str, float]) -> None:
        """When the certificates of the central channel end, by role, as Unix time."""
        for role, timestamp in expiry.items():
            self._expiry.labels(role).set(timestamp)

    def central_circuit(self, state: str, known: Iterable[str]) -> None:
        """The circuit to the centre is in this one of the known states."""
        for one in known:
            self._circuit.labels(one).set(one == state)

    def clock_skew(self, seconds: float) -> None:
        """The centre's clock minus ours."""
        self._skew.set(seconds)

    # --- the daemon -------------------------------------------------------------------------------------------------

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """An RPC ended."""
        self._rpc.labels(method, code).observe(seconds)

    def ready(self, problems: set[str], known: tuple[str, ...]) -> None:
        """These of the known readiness problems hold."""
        self._ready.labels(NO_REASON).set(not problems)
        for problem in known:
            self._ready.labels(problem).set(problem in problems)

    def build(self, version: str) -> None:
        """The daemon's version."""
        self._build.info({"version": version})
