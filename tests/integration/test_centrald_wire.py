"""The central service on real gRPC and TLS: who is let in, what a broken call is answered, one whole reset."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jpkireset.central.v1 import common_pb2, kiosk_service_pb2_grpc, reservation_service_pb2_grpc
from jpkireset.central.v1 import kiosk_service_pb2 as pb
from jpkireset.central.v1 import reservation_service_pb2 as phone_pb

from centrald import config, pki, registry
from centrald.app import Centrald
from centrald.initialize import KIOSK_AUTHORITY, initialize
from centrald.kioskname import uri_of
from centrald.rules.model import KioskId, Procedure
from centrald.statement import Purpose, statement
from tests.unit.centrald.world import KIOSK, OTHER_KIOSK, HeldCard, ManualClock, new_id

SECONDS = 5.0  # deadline of every call
SIGNING_PASSWORD = common_pb2.PROCEDURE_SIGNING_PASSWORD
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


@dataclass
class Centre:
    """A running centre at noon of today."""

    directory: Path
    service: Centrald
    clock: ManualClock
    kiosk_address: str
    phone_address: str

    @property
    def _roots(self) -> bytes:
        return (self.directory / "tls/server-ca.pem").read_bytes()

    def phone(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self.phone_address, grpc.ssl_channel_credentials(self._roots), OPTIONS)

    def kiosk(
        self, name: KioskId = KIOSK, uri: str | None = None, authority: pki.Issued | None = None
    ) -> grpc.aio.Channel:
        """Connect with a certificate issued for this kiosk."""
        authority = authority or pki.load(*(self.directory / part for part in KIOSK_AUTHORITY))
        now = datetime.datetime.now(datetime.UTC)
        issued = pki.kiosk_certificate(authority, uri or uri_of(name), "kiosk", now)
        certificate, key = self.directory / f"{new_id()}.pem", self.directory / f"{new_id()}.key"
        issued.write(certificate, key)
        credentials = grpc.ssl_channel_credentials(self._roots, key.read_bytes(), certificate.read_bytes())
        return grpc.aio.secure_channel(self.kiosk_address, credentials, OPTIONS)

    async def card(self) -> HeldCard:
        held = HeldCard.issue(self.directory, self.clock.now() - datetime.timedelta(days=1))
        async with self.service.database.transaction() as tx:
            await tx.save_card(registry.parse(held.entry)[0], new=True)
        return held


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("central") / "new"
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    initialize(directory, ["localhost", "127.0.0.1"], always_open=False, clock=ManualClock(yesterday))
    return directory


@pytest.fixture
async def centre(initialized: Path, tmp_path: Path) -> AsyncIterator[Centre]:
    directory = tmp_path / "central"
    shutil.copytree(initialized, directory)
    noon = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=9))).replace(hour=12)
    clock = ManualClock(noon)
    service = Centrald(directory, config.load(directory), clock)
    async with service.database.transaction() as tx:
        await tx.fleet.add(KIOSK)
        await tx.fleet.add(OTHER_KIOSK)
    try:
        where = await service.start()
        yield Centre(directory, service, clock, where.kiosk_address, where.phone_address)
    finally:
        await service.stop()


def stub(channel: grpc.aio.Channel) -> kiosk_service_pb2_grpc.KioskServiceAsyncStub:
    return kiosk_service_pb2_grpc.KioskServiceStub(channel)


async def code_of(call: grpc.aio.UnaryUnaryCall[Any, Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


async def reserve(centre: Centre, card: HeldCard) -> phone_pb.CreateReservationResponse:
    async with centre.phone() as channel:
        phone = reservation_service_pb2_grpc.ReservationServiceStub(channel)
        given = await phone.GetChallenge(phone_pb.GetChallengeRequest(procedure=SIGNING_PASSWORD), timeout=SECONDS)
        signed = statement(Purpose.RESERVE, Procedure.SIGNING_PASSWORD, "", "", given.challenge)
        request = phone_pb.CreateReservationRequest(
            procedure=SIGNING_PASSWORD,
            challenge=given.challenge,
            user_certificate=card.certificate,
            signature=card.sign(signed),
            face_match=phone_pb.FACE_MATCH_NOT_PERFORMED,
        )
        first = await phone.CreateReservation(request, timeout=SECONDS)
        assert await phone.CreateReservation(request, timeout=SECONDS) == first
        return first


async def test_one_reset_from_reservation_to_receipt(centre: Centre) -> None:
    card = await centre.card()
    reserved = await reserve(centre, card)
    assert reserved.refusal == common_pb2.REFUSAL_UNSPECIFIED
    assert reserved.expires_at.ToDatetime(datetime.UTC) == centre.clock.now() + datetime.timedelta(hours=24)
    attempt_id = new_id()
    async with centre.kiosk() as channel:
        kiosk = stub(channel)
        status = await kiosk.GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert (status.refusal, status.HasField("closes_at"), status.HasField("opens_at")) == (0, True, False)
        begin = pb.BeginAttemptRequest(attempt_id=attempt_id, procedure=SIGNING_PASSWORD)
        begun = await kiosk.BeginAttempt(begin, timeout=SECONDS)
        assert (len(begun.challenge), begun.valid_for.seconds) == (32, 900)
        signed = statement(Purpose.RESET, Procedure.SIGNING_PASSWORD, attempt_id, str(KIOSK), begun.challenge)
        check = await kiosk.CheckReservation(
            pb.CheckReservationRequest(
                attempt_id=attempt_id, user_certificate=card.certificate, signature=card.sign(signed)
            ),
            timeout=SECONDS,
        )
        assert check.expires_at == reserved.expires_at
        assert [len(one) for one in check.host_challenges] == [8, 8, 8]
        answer = card.offer(check.key_version, check.host_challenges[0])
        ask = pb.AuthorizeResetRequest(attempt_id=attempt_id, write_number=1, initialize_update_response=answer)
        given = await kiosk.AuthorizeReset(ask, timeout=SECONDS)
        assert await kiosk.AuthorizeReset(ask, timeout=SECONDS) == given
        receipt = card.write(given.external_authenticate, given.s_enc, given.s_mac)
        done = pb.ReportOutcomeRequest(
            attempt_id=attempt_id,
            write_number=1,
            outcome=pb.WRITE_OUTCOME_DONE,
            receipt=pb.Receipt(chaining_value=receipt.chaining_value, r_mac=receipt.r_mac),
            status_word=0x9000,
        )
        report = await kiosk.ReportOutcome(done, timeout=SECONDS)
        assert report.verdict == pb.VERDICT_VALID
        assert report.reservation_state == common_pb2.RESERVATION_STATE_USED
        assert await kiosk.ReportOutcome(done, timeout=SECONDS) == report
        released = await kiosk.ReleaseAttempt(pb.ReleaseAttemptRequest(attempt_id=attempt_id), timeout=SECONDS)
        assert released.reservation_state == common_pb2.RESERVATION_STATE_USED
        became = await kiosk.GetAttempt(pb.GetAttemptRequest(attempt_id=attempt_id), timeout=SECONDS)
        assert became == pb.GetAttemptResponse(
            reservation_state=common_pb2.RESERVATION_STATE_USED, verdict=pb.VERDICT_VALID, released=True
        )


async def test_out_of_hours_says_when_it_opens(centre: Centre) -> None:
    centre.clock.time = centre.clock.time.replace(hour=23, minute=0)
    async with centre.kiosk() as channel:
        begin = pb.BeginAttemptRequest(attempt_id=new_id(), procedure=SIGNING_PASSWORD)
        begun = await stub(channel).BeginAttempt(begin, timeout=SECONDS)
        assert begun.refusal == common_pb2.REFUSAL_OUT_OF_HOURS
        assert begun.challenge == b""
        status = await stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert status.refusal == common_pb2.REFUSAL_OUT_OF_HOURS
        opens = status.opens_at.ToDatetime(datetime.UTC) - centre.clock.now()
        assert datetime.timedelta(hours=7) < opens <= datetime.timedelta(hours=7, minutes=30)


async def test_another_kiosk_is_denied(centre: Centre) -> None:
    attempt_id = new_id()
    async with centre.kiosk() as mine, centre.kiosk(OTHER_KIOSK) as other:
        begin = pb.BeginAttemptRequest(attempt_id=attempt_id, procedure=SIGNING_PASSWORD)
        await stub(mine).BeginAttempt(begin, timeout=SECONDS)
        release = pb.ReleaseAttemptRequest(attempt_id=attempt_id)
        assert await code_of(stub(other).ReleaseAttempt(release, timeout=SECONDS)) is grpc.StatusCode.PERMISSION_DENIED
        assert await code_of(stub(other).BeginAttempt(begin, timeout=SECONDS)) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_certificate_of_another_authority_is_not_let_in(centre: Centre) -> None:
    stranger = pki.tls_authority("stranger", datetime.datetime.now(datetime.UTC))
    async with centre.kiosk(authority=stranger) as channel:
        call = stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_no_certificate_is_not_let_in(centre: Centre) -> None:
    roots = (centre.directory / "tls/server-ca.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(roots)
    async with grpc.aio.secure_channel(centre.kiosk_address, credentials, OPTIONS) as channel:
        call = stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("uri", ["spiffe://jpki-reset/chain/a/store/b", "spiffe://elsewhere/chain/a/store/b/kiosk/c"])
async def test_a_certificate_that_names_no_kiosk_is_unauthenticated(centre: Centre, uri: str) -> None:
    async with centre.kiosk(uri=uri) as channel:
        call = stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert await code_of(call) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_kiosk_nobody_added_is_not_enabled(centre: Centre) -> None:
    async with centre.kiosk(KioskId("chain-a", "store-1", "unknown")) as channel:
        status = await stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert status.refusal == common_pb2.REFUSAL_KIOSK_NOT_ENABLED


@pytest.mark.parametrize(
    "begin",
    [
        pb.BeginAttemptRequest(procedure=SIGNING_PASSWORD),
        pb.BeginAttemptRequest(attempt_id="x" * 36, procedure=SIGNING_PASSWORD),
        pb.BeginAttemptRequest(attempt_id="{" + "0" * 32 + "}xx", procedure=SIGNING_PASSWORD),
        pb.BeginAttemptRequest(attempt_id="2f1a9d2e-6f0e-4a51-9b7d-0f7c4c1f9a11"),
        pb.BeginAttemptRequest(attempt_id="2f1a9d2e-6f0e-4a51-9b7d-0f7c4c1f9a11", procedure=7),  # type: ignore[arg-type]
    ],
)
async def test_malformed_fields_are_invalid(centre: Centre, begin: pb.BeginAttemptRequest) -> None:
    async with centre.kiosk() as channel:
        assert await code_of(stub(channel).BeginAttempt(begin, timeout=SECONDS)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_out_of_order_and_unknown_attempts(centre: Centre) -> None:
    attempt_id = new_id()
    async with centre.kiosk() as channel:
        kiosk = stub(channel)
        ask = pb.AuthorizeResetRequest(attempt_id=attempt_id, write_number=1, initialize_update_response=bytes(29))
        assert await code_of(kiosk.AuthorizeReset(ask, timeout=SECONDS)) is grpc.StatusCode.FAILED_PRECONDITION
        get = pb.GetAttemptRequest(attempt_id=attempt_id)
        assert await code_of(kiosk.GetAttempt(get, timeout=SECONDS)) is grpc.StatusCode.NOT_FOUND


async def test_a_call_without_deadline_is_refused(centre: Centre) -> None:
    async with centre.kiosk() as channel:
        call = stub(channel).GetServiceStatus(pb.GetServiceStatusRequest())
        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_is_too_big_is_refused(centre: Centre) -> None:
    async with centre.phone() as channel:
        phone = reservation_service_pb2_grpc.ReservationServiceStub(channel)
        request = phone_pb.CreateReservationRequest(user_certificate=bytes(20_000))
        assert await code_of(phone.CreateReservation(request, timeout=SECONDS)) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_phones_cannot_call_what_is_for_kiosks(centre: Centre) -> None:
    async with centre.phone() as channel:
        call = stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
        assert await code_of(call) is grpc.StatusCode.UNIMPLEMENTED


async def test_what_nobody_foresaw_has_a_fixed_text(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> datetime.datetime:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(centre.clock, "now", broken)
    async with centre.kiosk() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub(channel).GetServiceStatus(pb.GetServiceStatusRequest(), timeout=SECONDS)
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_health_on_both_listeners(centre: Centre) -> None:
    names = ("", "jpkireset.central.v1.KioskService", "jpkireset.central.v1.ReservationService")
    for channel in (centre.kiosk(), centre.phone()):
        async with channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in names:
                answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
