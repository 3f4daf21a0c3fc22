"""What METRICS.md says of a metric beside its own help: the values of its labels, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from jpkireset.central.v1 import kiosk_service_pb2, reservation_service_pb2
from jpkireset.gateway.v1 import gateway_service_pb2, operator_service_pb2, reset_service_pb2

from centrald.revocation import Role
from centrald.rpc.refusal import ErrorReason
from centrald.rules import model
from centrald.storage.ledger import Event
from gatewayd.card.link import COMMAND_NAMES
from gatewayd.central.circuit import CircuitState
from gatewayd.dialogue.table import HUMAN, Step
from gatewayd.dialogue.vocabulary import Outcome
from gatewayd.metrics import NO_REASON, PASSWORDS, PIN_RESULTS
from gatewayd.reader.hooks import LOCK_FAILURE_REASONS
from gatewayd.rpc.interceptors import UNKNOWN_METHOD
from gatewayd.session.readiness import KNOWN
from gatewayd.session.reasons import ENDINGS, LEASE_REFUSALS

Values = Mapping[str, Collection[str]]


def _values(kind: type[Enum]) -> list[str]:
    return [str(one.value) for one in kind]


def _methods(*files: object, form: str) -> list[str]:
    return [
        form.format(service=service.full_name, short=service.name, method=method.name)
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]
        for method in service.methods
    ]


CODES = [code.name for code in grpc.StatusCode]
_LOCAL = (reset_service_pb2, gateway_service_pb2, operator_service_pb2, health_pb2, reflection_pb2)
VALUES: dict[str, Values] = {
    "gatewayd_reader_lock_failures": {"reason": sorted(LOCK_FAILURE_REASONS)},
    "gatewayd_lease_refused": {"reason": LEASE_REFUSALS},
    "gatewayd_card_password_locked": {"password": PASSWORDS},
    "gatewayd_user_pin_verifications": {"result": PIN_RESULTS},
    "gatewayd_rpc_duration_seconds": {
        "method": [*_methods(*_LOCAL, form="/{service}/{method}"), UNKNOWN_METHOD],
        "code": CODES,
    },
    "gatewayd_attempt_machine_seconds": {"outcome": [one.name.lower() for one in Outcome]},
    "gatewayd_step_duration_seconds": {"step": [one.name.lower() for one in Step if one not in HUMAN]},
    "gatewayd_apdu_duration_seconds": {"command": sorted(COMMAND_NAMES)},
    "gatewayd_central_request_seconds": {"method": _methods(kiosk_service_pb2, form="{method}"), "code": CODES},
    "gatewayd_attempts": {
        "outcome": [one.name.lower() for one in Outcome],
        "reason": sorted({reason for _, reason in ENDINGS}),
    },
    "gatewayd_certificate_expiry_timestamp_seconds": {"role": ["client", "authority"]},
    "gatewayd_central_circuit": {"state": _values(CircuitState)},
    "gatewayd_ready": {"reason": [NO_REASON, *KNOWN]},
    "gatewayd_build": {"version": ["one"]},
    "centrald_rpc_duration_seconds": {
        "method": _methods(kiosk_service_pb2, reservation_service_pb2, form="{short}/{method}"),
        "code": CODES,
    },
    "centrald_rpc_errors": {"reason": [one.name for one in ErrorReason]},
    "centrald_transaction_duration_seconds": {"result": ["committed", "rolled_back", "failed"]},
    "centrald_ledger_entries": {"event": _values(Event)},
    "centrald_refusals": {"refusal": _values(model.Refusal)},
    "centrald_reports": {"outcome": _values(model.Outcome), "verdict": _values(model.Verdict)},
    "centrald_card_key_errors": {"kind": ["cryptogram", "receipt", "unavailable"]},
    "centrald_reservations": {"state": _values(model.State)},
    "centrald_limited": {"of": ["address", "certificate", "cryptogram"]},
    "centrald_paused": {"of": ["card", "kiosk"]},
    "centrald_certificate_expiry_timestamp_seconds": {
        "role": ["server", "kiosk_authority", "user_authority", "signing_authority"]
    },
    "centrald_crl_next_update_timestamp_seconds": {
        "role": _values(Role),
        "authority": ["key id, one of each authority of the configuration"],
    },
    "centrald_build": {"version": ["one"]},
}
# Series that can be, where the labels do not go with each other at will.
PAIRS = {"gatewayd_attempts": len(ENDINGS)}

ADVICE = {
    "gatewayd_reader_lock_wait_seconds": "A wait near 2 s is another program that holds the reader: remove it.",
    "gatewayd_reader_lock_hold_seconds": "Compare with the steps: a card or reader that is slow shows in both.",
    "gatewayd_reader_lock_failures": "`card_absent`: haste. `reader_held`: another program. Else: the reader.",
    "gatewayd_reader_lock_held": "1 for longer than 30 s: see the age.",
    "gatewayd_reader_lock_age_seconds": "Above 60 a command hangs: have the card lifted, then restart pcscd.",
    "gatewayd_lease_held": "1 without an end: somebody stands there, or a card was left.",
    "gatewayd_card_removal_seconds": "Above 180: call the store, a card was forgotten.",
    "gatewayd_lease_hold_seconds": "How long citizens take; beyond 10 minutes look at the screen's words.",
    "gatewayd_lease_refused": "`busy` is a front-end that starts twice; `card_left_behind` a forgotten card.",
    "gatewayd_card_password_locked": "How many come with it; `user_pin` cannot be helped at a kiosk.",
    "gatewayd_user_pin_verifications": "Many `wrong`, `locked`: an unclear screen, or stolen cards. `unknown`: torn.",
    "gatewayd_rpc_duration_seconds": "Codes other than `OK` and `CANCELLED`: a front-end out of order.",
    "gatewayd_attempt_machine_seconds": "Above some seconds: find the slow step.",
    "gatewayd_step_duration_seconds": "Card steps: the reader. `checking`, `authorizing`, `judging`: the centre.",
    "gatewayd_apdu_duration_seconds": "A command that slows down on one kiosk only: its reader.",
    "gatewayd_central_request_seconds": "Slow on one kiosk: its network. Slow on all: the centre.",
    "gatewayd_journal_commit_seconds": "Above 0.1 s: the disk.",
    "gatewayd_attempts": "[REASONS.md](REASONS.md) has a line for each reason.",
    "gatewayd_attempts_unresolved": "`gatewayctl attempts --unresolved`; the same card at any kiosk ends it.",
    "gatewayd_outbox_pending": "Not 0 for minutes: the centre is not reached. Do not replace the kiosk before.",
    "gatewayd_outbox_oldest_seconds": "After 1,200 the centre holds the reservation to be in doubt.",
    "gatewayd_receipts_refused": "Each one: take the kiosk out of service until it is known why.",
    "gatewayd_pcsc_reconnects": "Now and then is an update; often is a driver or a reader that crashes pcscd.",
    "gatewayd_pcscd_restarts_asked": "Each one: a reader that could not be used for a minute. Often: replace it.",
    "gatewayd_reader_up": "0: cable, reader, pcscd.",
    "gatewayd_card_present": "1 while nobody is there: a forgotten card.",
    "gatewayd_certificate_expiry_timestamp_seconds": "Renew with `centrald kiosk renew`, weeks before.",
    "gatewayd_central_circuit": "`open`: calls fail at once until the centre answers; nothing to do here.",
    "gatewayd_clock_skew_seconds": "Beyond some seconds: mend time synchronisation.",
    "gatewayd_ready": "`none` 0: the reason that is 1 says why no attempt begins.",
    "gatewayd_build": "Tell releases apart.",
    "centrald_rpc_duration_seconds": "Above some 100 ms: look at the database first.",
    "centrald_rpc_in_flight": "Near `concurrent_calls` of `[limits]`: too slow, or too few services.",
    "centrald_rpc_errors": '"Errors of calls" in [CENTRAL.md](CENTRAL.md) has a line for each reason.',
    "centrald_transaction_duration_seconds": "`failed`: the database. `rolled_back`: a call that was refused.",
    "centrald_database_up": "0: no attempt begins. The database, now.",
    "centrald_ledger_entries": "What happens, by kind; a kind that stops or jumps is news.",
    "centrald_refusals": "`card_not_genuine`, `signature_invalid`: somebody tries. The rest is daily life.",
    "centrald_reports": "`unknown`, and `done` with `invalid`: `centrald doubts`.",
    "centrald_contradictions": "Each one: `centrald ledger show --contradictions`.",
    "centrald_card_key_errors": "`receipt`: at once. `cryptogram`: wrong keys or card. `unavailable`: the token.",
    "centrald_reservations": "How full the day is.",
    "centrald_doubts": "`centrald doubts` says what ends each.",
    "centrald_doubts_oldest_seconds": "Above 3,600: a kiosk that never reported, or a citizen who has not come back.",
    "centrald_limited": "`certificate`, `cryptogram`: somebody tries. `address`: many phones behind one, or a flood.",
    "centrald_paused": "`kiosk` above 0: look at that kiosk; the log names it.",
    "centrald_certificate_expiry_timestamp_seconds": "`centrald certificate renew`; authorities need weeks.",
    "centrald_crl_next_update_timestamp_seconds": "0 or past: fetch the list, `centrald crl import`.",
    "centrald_purge_done_timestamp_seconds": "Days ago: nothing is forgotten. The log says why; `centrald purge`.",
    "centrald_purged": "One of several services does it; the others show none.",
    "centrald_revocation_reliable": "0: a needed list is missing; with `required` no attempt begins.",
    "centrald_build": "Tell releases apart.",
}
