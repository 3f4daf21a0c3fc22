"""The centre's reservation service, over TLS that knows the server by its certificate authority."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from jpkireset.central.v1.common_pb2 import PROCEDURE_SIGNING_PASSWORD, REFUSAL_UNSPECIFIED, Refusal
from jpkireset.central.v1.reservation_service_pb2 import (
    FACE_MATCH_NOT_PERFORMED,
    CreateReservationRequest,
    CreateReservationResponse,
    GetChallengeRequest,
)
from jpkireset.central.v1.reservation_service_pb2_grpc import ReservationServiceStub

from jpki_phone.problems import Problem, not_reserved, refused
from jpki_phone.statement import CHALLENGE_BYTES

CALL_S = 10.0
LARGEST_MESSAGE_BYTES = 64 * 1024
OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.service_config_disable_resolution", 1),
)
RESERVATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
NOT_UNDERSTOOD = "Its answer is none that a centre gives."
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # moves a terminal's cursor, or turns its text
# After these the centre has certainly not reserved: it judged the call itself to be wrong, or it never took it.
DEFINITE = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the centre promised."""

    reservation_id: str
    expires_at: datetime.datetime  # UTC


class Centre:
    """The two calls of a reservation, each with a time-out of 10 s."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._service = ReservationServiceStub(channel)

    def challenge(self) -> bytes:
        """Return 32 bytes to sign within 5 minutes. Raises NotReserved."""
        request = GetChallengeRequest(procedure=PROCEDURE_SIGNING_PASSWORD)
        try:
            challenge = self._service.GetChallenge(request, timeout=CALL_S).challenge
        except grpc.RpcError as error:
            raise not_reserved(Problem.CENTRE_UNAVAILABLE, detail=_words(error)) from None
        if len(challenge) != CHALLENGE_BYTES:
            raise not_reserved(Problem.CENTRE_UNAVAILABLE, detail=NOT_UNDERSTOOD)
        return challenge

    def reserve(self, challenge: bytes, user_certificate: bytes, signature: bytes) -> Reservation:
        """Make the reservation, recorded as without a face match. Raises NotReserved.

        A lost answer, or one that says nothing, is its own problem: the centre may have made the reservation.
        """
        request = CreateReservationRequest(
            procedure=PROCEDURE_SIGNING_PASSWORD,
            challenge=challenge,
            user_certificate=user_certificate,
            signature=signature,
            face_match=FACE_MATCH_NOT_PERFORMED,
        )
        try:
            response = self._service.CreateReservation(request, timeout=CALL_S)
        except grpc.RpcError as error:
            problem = Problem.CENTRE_UNAVAILABLE if error.code() in DEFINITE else Problem.ANSWER_LOST
            raise not_reserved(problem, detail=_words(error)) from None
        if response.refusal != REFUSAL_UNSPECIFIED:
            known = Refusal.DESCRIPTOR.values_by_number.get(response.refusal)
            raise refused(known.name if known else f"REFUSAL_{response.refusal}")
        return _understood(response)


@contextlib.contextmanager
def open_centre(address: str, authority: bytes) -> Iterator[Centre]:
    """Open a channel to `host:port`, trusting this PEM authority; nothing is connected before the first call."""
    credentials = grpc.ssl_channel_credentials(root_certificates=authority)
    with grpc.secure_channel(address, credentials, options=OPTIONS) as channel:
        yield Centre(channel)


def _understood(response: CreateReservationResponse) -> Reservation:
    with contextlib.suppress(ValueError, OverflowError):  # of a time that no calendar has
        if RESERVATION_ID.fullmatch(response.reservation_id) and response.HasField("expires_at"):
            return Reservation(response.reservation_id, response.expires_at.ToDatetime(tzinfo=datetime.UTC))
    raise not_reserved(Problem.ANSWER_LOST, detail=NOT_UNDERSTOOD)


def _words(error: grpc.RpcError) -> str:
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", f"{error.code().name}: {error.details()}")
