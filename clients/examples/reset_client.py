"""The least a front-end does, on a terminal: one reset of a signing password through the daemon's socket.

    python reset_client.py /run/gatewayd/api.sock attempt.txt

Each view is printed. Each line typed answers the newest view: the PIN, the new password, or one of `confirm` (the last
try), `more` (time) and `cancel`. Exit code 0: done; 1: not done; 2: unknown. The stubs are generated from `protos/`.
"""

from __future__ import annotations

import queue
import sys
import threading
import uuid
from pathlib import Path

import grpc
from jpkireset.gateway.v1 import gateway_service_pb2 as gw
from jpkireset.gateway.v1 import reset_service_pb2 as rs
from jpkireset.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from jpkireset.gateway.v1.reason_pb2 import Reason
from jpkireset.gateway.v1.reset_service_pb2_grpc import ResetServiceStub

EXIT_CODES = {rs.OUTCOME_DONE: 0, rs.OUTCOME_NOT_DONE: 1, rs.OUTCOME_UNKNOWN: 2}


def draw(view: rs.View) -> None:
    """Show a view: it has all that a page needs, so the page decides nothing. A secret never comes this way."""
    words = (
        f"view {view.number}: {rs.State.Name(view.state)} {rs.CardRequest.Name(view.card_request)}",
        "busy" * view.busy,
        f"tries {view.user_pin_tries_left}" * view.HasField("user_pin_tries_left"),
        rs.InputProblem.Name(view.input_problem) * bool(view.input_problem),
        "in doubt" * view.in_doubt,
        rs.Outcome.Name(view.outcome) * bool(view.outcome),
        Reason.Name(view.reason) * bool(view.reason),
        f"reminder {view.reminder_stage}" * bool(view.reminder_stage),
    )
    print(*filter(None, words))


def answer(word: str, view: rs.View, confirmed: bool) -> rs.ResetPasswordRequest | None:
    """What the citizen does. An input names the view it answers; the daemon drops it when there is a newer one."""
    request = rs.ResetPasswordRequest(view_number=view.number)
    if word == "cancel":
        request.cancel.SetInParent()
    elif word == "more":
        request.more_time.SetInParent()
    elif word != "confirm" and view.state == rs.STATE_ENTER_USER_PIN:
        request.user_pin.user_pin = word.encode()
        request.user_pin.last_try_confirmed = confirmed
    elif view.state == rs.STATE_ENTER_NEW_PASSWORD:
        request.new_password.new_password = word.encode()
    return request if request.HasField("input") else None


def until_ready(gateway: GatewayServiceStub) -> None:
    """Show why no attempt could begin, until one could: a kiosk's idle screen."""
    for answer in gateway.WatchStatus(gw.WatchStatusRequest(), wait_for_ready=True):
        print("ready" if answer.status.ready else "not ready", *map(gw.ReadinessProblem.Name, answer.status.problems))
        if answer.status.ready:
            return


def what_became(gateway: GatewayServiceStub, kept: Path) -> rs.Outcome.ValueType:
    """Ask for the outcome of an attempt whose stream is lost, until the daemon is there and has it."""
    attempt_id, *accepted = kept.read_text().split()
    while True:
        try:
            request = gw.GetAttemptRequest(attempt_id=attempt_id)
            attempt = gateway.GetAttempt(request, timeout=5, wait_for_ready=True).attempt
            if attempt.outcome:
                print("the attempt:", rs.Outcome.Name(attempt.outcome), Reason.Name(attempt.reason))
                return attempt.outcome
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:  # never begun; if it was, the daemon's journal is gone
                print("the attempt is not known" + " any more" * bool(accepted))
                return rs.OUTCOME_UNKNOWN if accepted else rs.OUTCOME_NOT_DONE
        threading.Event().wait(0.5)


def attempt(gateway: GatewayServiceStub, resets: ResetServiceStub, kept: Path) -> rs.Outcome.ValueType:
    """Go through one attempt, and return its outcome."""
    view, attempt_id = rs.View(), kept.read_text()
    requests: queue.Queue[rs.ResetPasswordRequest | None] = queue.Queue()

    def read() -> None:
        confirmed = False
        for line in open(0, closefd=False):  # noqa: SIM115 - standard input, which stays open
            confirmed |= line.strip() == "confirm"
            if request := answer(line.strip(), view, confirmed):
                requests.put(request)

    threading.Thread(target=read, daemon=True).start()
    start = rs.Start(attempt_id=attempt_id, procedure=rs.PROCEDURE_SIGNING_PASSWORD, terms_accepted=True)
    requests.put(rs.ResetPasswordRequest(start=start))
    try:
        for response in resets.ResetPassword(iter(requests.get, None)):
            draw(view := response.view)
            if view.state == rs.STATE_ADMITTING:  # a refused attempt has no such view, and is not remembered
                kept.write_text(f"{attempt_id} accepted")
    except grpc.RpcError as error:
        print("the stream is lost:", error.code().name)
        return what_became(gateway, kept)
    return view.outcome


def main(socket: str, kept: Path) -> int:
    """Begin an attempt, or tell what became of the one that was under way when this program ended."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        gateway = GatewayServiceStub(channel)
        under_way = kept.exists()
        if not under_way:
            until_ready(gateway)
            kept.write_text(str(uuid.uuid4()))  # before the stream begins
        resets = ResetServiceStub(channel)
        outcome = what_became(gateway, kept) if under_way else attempt(gateway, resets, kept)
    kept.unlink()
    return EXIT_CODES[outcome]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
