"""The gRPC channel to the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from jpkireset.central.v1.kiosk_service_pb2 import GetServiceStatusRequest
from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceStub

from gatewayd.central.failure import word_for
from gatewayd.central.identity import Identity
from gatewayd.central.settings import CentralSettings
from gatewayd.errors import CentralUnavailable

if TYPE_CHECKING:  # the class exists in the stubs only
    from jpkireset.central.v1.kiosk_service_pb2_grpc import KioskServiceAsyncStub

CLOSE_GRACE_S = 1.0
PROOF_LIMIT_S = 5.0

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # A dead link is found within 35 s without a call, and within the call's deadline with one; the centre permits a
    # ping each 20 s (https://github.com/grpc/grpc/blob/master/doc/keepalive.md).
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The default back-off grows to two minutes; a centre that returns is to be noticed within seconds.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 3_000),  # despite its name: the time a connection attempt is given
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # Retries are the client's, told by our code, not by a DNS record; and no proxy stands between kiosk and centre.
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 65_536),
    ("grpc.use_local_subchannel_pool", 1),  # so that a new channel never inherits an old connection's certificate
)


class Channel:
    """One channel, with the certificates of one moment."""

    def __init__(self, settings: CentralSettings, identity: Identity) -> None:
        options = list(_OPTIONS)
        if settings.server_name:
            options.append(("grpc.ssl_target_name_override", settings.server_name))
        credentials = grpc.ssl_channel_credentials(identity.authority, identity.key, identity.certificate)
        self._channel = grpc.aio.secure_channel(settings.address, credentials, options)
        self.stub: KioskServiceAsyncStub = KioskServiceStub(self._channel)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; asking makes none."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def prove(self) -> None:
        """See that the centre serves who we are on this channel. Raises CentralUnavailable.

        A connection alone proves nothing: in TLS 1.3 the server refuses a certificate after the client has finished.
        """
        try:
            await self.stub.GetServiceStatus(GetServiceStatusRequest(), timeout=PROOF_LIMIT_S)
        except grpc.aio.AioRpcError as error:
            raise CentralUnavailable(word_for(error)) from None

    async def close(self, grace_s: float | None = CLOSE_GRACE_S) -> None:
        """Close the channel; calls that run are given the grace."""
        await self._channel.close(grace_s)
