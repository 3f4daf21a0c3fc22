"""The Grafana dashboards of `systemd/dashboards/`: rows of panels, as data."""

from __future__ import annotations

from docs import grafana, metrics
from docs.grafana import BYTES, COUNT, DAYS, RATE, SECONDS, SHARE, TIME, Panel, counted, each, quantiles, slowest, stat

NOT_OURS = {
    "up": "Those that answered the last scrape.",
    "process_resident_memory_bytes": "What the program holds in memory. Growth without an end is a leak: report it.",
    "process_cpu_seconds_total": "An idle program uses next to nothing.",
    "process_start_time_seconds": "A program that is often young is started anew: its log says why.",
    "process_open_fds": "Growth without an end is a leak: report it.",
}


def process(program: str) -> tuple[str, list[Panel]]:
    """Return the row about the program itself."""
    return "The program", [
        each("Versions", COUNT, f"count by (version) ({program}_build_info{{$of}})", "version"),
        each("Memory", BYTES, "process_resident_memory_bytes{$of}"),
        each("Processor, share of a core", SHARE, "rate(process_cpu_seconds_total{$of}[$__rate_interval])"),
        each("Runs since", SECONDS, "time() - process_start_time_seconds{$of}"),
        each("Open files", COUNT, "process_open_fds{$of}"),
        each(
            "Certificates end in",
            DAYS,
            f"({program}_certificate_expiry_timestamp_seconds{{$of}} - time()) / 86400",
            "instance",
            "role",
        ),
    ]


GATEWAYD: list[tuple[str, list[Panel]]] = [
    (
        "Can a citizen be served?",
        [
            stat("Kiosks ready", 'sum(gatewayd_ready{$of, reason="none"})'),
            stat("Kiosks scraped", "sum(up{$of})"),
            stat("Attempts unresolved", "sum(gatewayd_attempts_unresolved{$of})", bad=1),
            stat("Reports that wait", "sum(gatewayd_outbox_pending{$of})", bad=1),
            stat("Receipts refused, a day", "sum(increase(gatewayd_receipts_refused_total{$of}[1d]))", bad=1),
            stat("Longest forgotten card", "max(gatewayd_card_removal_seconds{$of})", SECONDS, bad=180),
            each("Why kiosks are not ready", COUNT, 'sum by (reason) (gatewayd_ready{$of, reason!="none"})', "reason"),
            counted("Attempts by outcome", "gatewayd_attempts_total", "outcome"),
            counted("Attempts not admitted", "gatewayd_lease_refused_total", "reason"),
        ],
    ),
    (
        "Attempts",
        [
            each(
                "Endings, the ten most frequent",
                COUNT,
                "topk(10, sum by (outcome, reason) (increase(gatewayd_attempts_total{$of}[$__range])))",
                "outcome",
                "reason",
            ),
            counted("PIN entries", "gatewayd_user_pin_verifications_total", "result"),
            counted("Cards with a locked password", "gatewayd_card_password_locked_total", "password"),
            quantiles("From admission to the card's removal", "gatewayd_lease_hold_seconds"),
            Panel(
                "Attempt running, card present",
                COUNT,
                {
                    "attempts": "sum(gatewayd_lease_held{$of})",
                    "cards": "sum(gatewayd_card_present{$of})",
                },
            ),
            each("Oldest report that waits", SECONDS, "gatewayd_outbox_oldest_seconds{$of}"),
        ],
    ),
    (
        "Where the time goes",
        [
            quantiles("Machine time of a reset", "gatewayd_attempt_machine_seconds", ', outcome="done"'),
            each(
                "Mean time of a step",
                SECONDS,
                "sum by (step) (rate(gatewayd_step_duration_seconds_sum{$of}[$__rate_interval]))"
                " / sum by (step) (rate(gatewayd_step_duration_seconds_count{$of}[$__rate_interval]))",
                "step",
            ),
            slowest("Commands on the card, p90", "gatewayd_apdu_duration_seconds", "command"),
            slowest("Calls to the centre, p90", "gatewayd_central_request_seconds", "method"),
            counted("Calls to the centre by code", "gatewayd_central_request_seconds_count", "code"),
            quantiles("Commits of the journal", "gatewayd_journal_commit_seconds"),
            slowest("Calls of front-ends, p90", "gatewayd_rpc_duration_seconds", "method"),
            counted("Calls of front-ends by code", "gatewayd_rpc_duration_seconds_count", "code"),
            each("Circuit to the centre", COUNT, "sum by (state) (gatewayd_central_circuit{$of})", "state"),
        ],
    ),
    (
        "Reader and locks",
        [
            each("Readers that can be used", COUNT, "gatewayd_reader_up{$of}"),
            quantiles("Wait for the reader lock", "gatewayd_reader_lock_wait_seconds"),
            quantiles("Hold of the reader lock", "gatewayd_reader_lock_hold_seconds"),
            each("Age of a held lock", SECONDS, "gatewayd_reader_lock_age_seconds{$of}"),
            each("Locks held now", COUNT, "gatewayd_reader_lock_held{$of}"),
            counted("Locks that could not be had", "gatewayd_reader_lock_failures_total", "reason"),
            Panel(
                "PC/SC service",
                COUNT,
                {
                    "found again": "sum(increase(gatewayd_pcsc_reconnects_total{$of}[$__rate_interval]))",
                    "restart asked for": "sum(increase(gatewayd_pcscd_restarts_asked_total{$of}[$__rate_interval]))",
                },
            ),
            each("Clock, centre minus kiosk", SECONDS, "gatewayd_clock_skew_seconds{$of}"),
        ],
    ),
    process("gatewayd"),
]

CENTRALD: list[tuple[str, list[Panel]]] = [
    (
        "Is the service in order?",
        [
            stat("Services scraped", "sum(up{$of})"),
            stat("Databases that take writes", "sum(centrald_database_up{$of})"),
            stat("Reservations in doubt", "max(centrald_doubts{$of})", bad=1),
            stat("Oldest doubt", "max(centrald_doubts_oldest_seconds{$of})", SECONDS, bad=3600),
            stat("Contradictions, a day", "sum(increase(centrald_contradictions_total{$of}[1d]))", bad=1),
            stat("Revocation reliable", "min(centrald_revocation_reliable{$of})"),
            each(
                "Calls",
                RATE,
                "sum by (method) (rate(centrald_rpc_duration_seconds_count{$of}[$__rate_interval]))",
                "method",
            ),
            slowest("Calls, p99", "centrald_rpc_duration_seconds", "method", 0.99),
            counted("Calls by code", "centrald_rpc_duration_seconds_count", "code"),
            counted("Calls not served", "centrald_rpc_errors_total", "reason"),
            each("Calls being served", COUNT, "centrald_rpc_in_flight{$of}"),
            counted("Calls that had to wait", "centrald_limited_total", "of"),
        ],
    ),
    (
        "Reservations",
        [
            each("Where they stand", COUNT, "max by (state) (centrald_reservations{$of})", "state"),
            counted("What happened", "centrald_ledger_entries_total", "event"),
            counted("Refusals", "centrald_refusals_total", "refusal"),
            counted("Reports of writes", "centrald_reports_total", "outcome", "verdict"),
            counted("Cryptograms, receipts, keys", "centrald_card_key_errors_total", "kind"),
            each("Who has to wait", COUNT, "sum by (of) (centrald_paused{$of})", "of"),
        ],
    ),
    (
        "Database and lists",
        [
            slowest("Transactions, p99", "centrald_transaction_duration_seconds", "result", 0.99),
            counted("Transactions", "centrald_transaction_duration_seconds_count", "result"),
            each("Forgotten last at", TIME, "centrald_purge_done_timestamp_seconds{$of} * 1000"),
            each("Forgotten", COUNT, "increase(centrald_purged_total{$of}[$__rate_interval])"),
            each(
                "Revocation lists, due at",
                TIME,
                "centrald_crl_next_update_timestamp_seconds{$of} * 1000",
                "role",
                "authority",
            ),
        ],
    ),
    process("centrald"),
]

TITLES = {"gatewayd": ("Kiosks: gatewayd", GATEWAYD), "centrald": ("Centre: centrald", CENTRALD)}


def dashboard(program: str) -> str:
    """Return a program's dashboard as Grafana's JSON. A panel says what METRICS.md says of its first metric."""
    title, rows = TITLES[program]
    told = {family.name: f"{family.text} {family.advice}" for family in metrics.families(program)} | NOT_OURS
    return grafana.dashboard(program, title, rows, told)
