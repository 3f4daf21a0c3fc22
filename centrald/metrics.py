"""Every metric of the service: names, labels and one recording function an event.

Label sets are bounded, and no label says anything of a citizen, a card or a kiosk.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from centrald.rules.model import Outcome, Refusal, State, Verdict
from centrald.storage.database import Watcher
from centrald.storage.ledger import Entry, Event
from centrald.storage.overview import Counts

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_KEYS_UNAVAILABLE = "KEYS_UNAVAILABLE"
_REPORTS = (  # a receipt comes with "done" only
    (Outcome.DONE, Verdict.VALID),
    (Outcome.DONE, Verdict.INVALID),
    (Outcome.NOT_DONE, Verdict.NONE),
    (Outcome.UNKNOWN, Verdict.NONE),
)


class Metrics(Watcher):
    """The service's metrics on a registry of their own."""

    def __init__(self, registry: CollectorRegistry, version: str, error_reasons: Iterable[str]) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=_BUCKETS, registry=registry)

        self._rpc = histogram("centrald_rpc_duration_seconds", "Calls served.", "method", "code")
        self._in_flight = gauge("centrald_rpc_in_flight", "Calls that are being served.")
        self._errors = counter("centrald_rpc_errors", "Calls that were not served, by reason of ErrorInfo.", "reason")
        self._transactions = histogram(
            "centrald_transaction_duration_seconds", "Transactions of the database.", "result"
        )
        self._calls: dict[tuple[str, str], Histogram] = {}
        self._results: dict[str, Histogram] = {}
        self._database_up = gauge("centrald_database_up", "1 while the database takes writes.")
        self._entries = counter("centrald_ledger_entries", "Entries appended to the ledger.", "event")
        self._events = {event: self._entries.labels(event.value) for event in Event}
        self._refusals = counter(
            "centrald_refusals", "Attempts refused when reservation or card was checked.", "refusal"
        )
        self._reports = counter("centrald_reports", "Reports of writes taken from kiosks.", "outcome", "verdict")
        self._contradictions = counter("centrald_contradictions", "Reports that contradict what is known.")
        self._key_errors = counter(
            "centrald_card_key_errors",
            "Cards' cryptograms and receipts that do not verify, and keys that could not be had.",
            "kind",
        )
        self._reservations = gauge(
            "centrald_reservations", "Reservations that have not expired, by where they stand.", "state"
        )
        self._doubts = gauge("centrald_doubts", "Reservations in doubt, of whatever age.")
        self._oldest = gauge(
            "centrald_doubts_oldest_seconds", "For how long the oldest of them has been; 0 when there is none."
        )
        self._limited = counter("centrald_limited", "Calls that had to wait because of too many before.", "of")
        self._waiting = gauge("centrald_paused", "Cards and kiosks that have to wait for wrong cryptograms.", "of")
        self._expiry = gauge(
            "centrald_certificate_expiry_timestamp_seconds", "When a certificate or authority ends.", "role"
        )
        self._crl = gauge(
            "centrald_crl_next_update_timestamp_seconds",
            "When an authority's revocation list must be followed by the next; 0 while there is none.",
            "role",
            "authority",
        )
        self._reliable = gauge(
            "centrald_revocation_reliable", "1 while every revocation list that is needed is in time."
        )
        self._purge_done = gauge(
            "centrald_purge_done_timestamp_seconds", "When what is over was forgotten last; 0 before the first time."
        )
        self._purged = counter("centrald_purged", "Reservations and attempts forgotten by this service.")
        self._limited_before: dict[str, int] = {}
        Info("centrald_build", "Version of the service.", registry=registry).info({"version": version})
        self._begin(error_reasons)

    def _begin(self, error_reasons: Iterable[str]) -> None:
        """Let what alerts and dashboards look at be there from the start, or its first event is no increase."""
        for reason in error_reasons:
            self._errors.labels(reason)
        for refusal in Refusal:
            self._refusals.labels(refusal.value)
        for outcome, verdict in _REPORTS:
            self._reports.labels(outcome.value, verdict.value)
        for kind in ("cryptogram", "receipt", "unavailable"):
            self._key_errors.labels(kind)
        for state in State:
            self._reservations.labels(state.value)

    # --- calls --------------------------------------------------------------------------------------------------------

    def call_begun(self) -> None:
        """A call came in."""
        self._in_flight.inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """A call of this method (Service/Method) was answered with this status."""
        self._in_flight.dec()
        if (method, code) not in self._calls:  # to look labels up costs more than to observe
            self._calls[method, code] = self._rpc.labels(method, code)
        self._calls[method, code].observe(seconds)

    def call_refused(self, reason: str) -> None:
        """A call is answered with this reason of ErrorInfo."""
        self._errors.labels(reason).inc()
        if reason == _KEYS_UNAVAILABLE:
            self._key_errors.labels("unavailable").inc()

    # --- database -----------------------------------------------------------------------------------------------------

    def transacted(self, seconds: float, result: str) -> None:
        """See `Watcher`."""
        if result not in self._results:
            self._results[result] = self._transactions.labels(result)
        self._results[result].observe(seconds)

    def appended(self, entries: Sequence[Entry]) -> None:
        """See `Watcher`."""
        for entry in entries:
            self._events[entry.event].inc()
            if entry.refusal is not None:
                self._refusals.labels(entry.refusal.value).inc()
            if entry.refusal is Refusal.CARD_NOT_GENUINE:
                self._key_errors.labels("cryptogram").inc()
            if entry.outcome is not None:
                self._reports.labels(entry.outcome.value, (entry.verdict or Verdict.NONE).value).inc()
            if entry.verdict is Verdict.INVALID:
                self._key_errors.labels("receipt").inc()
            if entry.contradiction:
                self._contradictions.inc()

    def database(self, *, up: bool) -> None:
        """The database was asked whether it takes writes."""
        self._database_up.set(up)

    def counts(self, counts: Counts, now: datetime.datetime) -> None:
        """The reservations were counted."""
        for state, count in counts.unexpired.items():
            self._reservations.labels(state.value).set(count)
        self._doubts.set(counts.doubts)
        since = counts.oldest_doubt
        self._oldest.set(0 if since is None else max(0.0, (now - since).total_seconds()))

    # --- what is looked at from time to time --------------------------------------------------------------------------

    def limited(self, of: str, total: int) -> None:
        """So many calls had to wait since the start."""
        self._limited.labels(of).inc(total - self._limited_before.get(of, 0))
        self._limited_before[of] = total

    def paused(self, of: str, count: int) -> None:
        """So many have to wait now."""
        self._waiting.labels(of).set(count)

    def forgotten(self, count: int) -> None:
        """So many reservations and attempts were forgotten."""
        self._purged.inc(count)

    def purge_done(self, at: datetime.datetime | None) -> None:
        """When that was done last, by whomever."""
        self._purge_done.set(at.timestamp() if at else 0)

    def certificate(self, role: str, expires_at: datetime.datetime) -> None:
        """A certificate file was read."""
        self._expiry.labels(role).set(expires_at.timestamp())

    def revocation(self, lists: Iterable[tuple[str, str, datetime.datetime | None]], *, reliable: bool) -> None:
        """Where the lists stand: role, authority's key id, time of the next one."""
        for role, authority, next_update in lists:
            self._crl.labels(role, authority).set(next_update.timestamp() if next_update else 0)
        self._reliable.set(reliable)
