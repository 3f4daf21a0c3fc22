"""Every exception that crosses a package border of the daemon, in one tree.

Expected answers (a wrong PIN, a refused reservation) are values of the layer that learns them, never exceptions::

    GatewayError
    ├── ConfigError            the configuration file
    ├── LinkError              the way to the card
    │   ├── ServiceLost        pcscd is gone, or restarted
    │   ├── ReaderMissing      no reader, or several, of the configured name
    │   ├── ReaderHeld         another program holds the reader
    │   ├── CardAbsent         no card at connect
    │   ├── TransmitFailed     no usable answer; the card may have executed the command
    │   ├── LinkEnded          the connection ended before this job; nothing was sent
    │   └── DeadlineExceeded   the job's budget is over; nothing further is sent
    ├── CardProtocolError      the card answered what no card of this kind answers
    ├── CentralUnavailable     no answer from the centre
    ├── CentralRejected        the centre refuses a call for good, as malformed or out of order
    └── JournalUnavailable     the journal cannot be made durable
"""

from __future__ import annotations


class GatewayError(Exception):
    """Root of the daemon's own exceptions. Messages hold no secrets and no personal data."""


class ConfigError(GatewayError):
    """The configuration cannot be used; the message names the file and the key's path."""


class LinkError(GatewayError):
    """The way to the card failed. Whatever was kept for the connection is void."""


class ServiceLost(LinkError):
    """pcscd does not answer, or was restarted: every handle is void, a new context is needed."""


class ReaderMissing(LinkError):
    """No reader, or more than one, has the configured name."""


class ReaderHeld(LinkError):
    """Another program held the reader exclusively for longer than we wait (2 s)."""


class CardAbsent(LinkError):
    """No card lies on the reader; nothing was sent."""


class TransmitFailed(LinkError):
    """A command got no usable answer (an error code, or fewer than two bytes); the card may have executed it."""


class LinkEnded(LinkError):
    """The connection had ended before this job began; nothing was sent."""


class DeadlineExceeded(LinkError):
    """The budget is over. A command that was running may have been executed; nothing further is sent."""


class CardProtocolError(GatewayError):
    """The card answered something that no card of this kind answers; the message shows status words only."""


class CentralUnavailable(GatewayError):
    """The centre gave no answer in time, or a broken one. `detail` is a bounded word for metrics and logs."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"central service unavailable: {detail}")
        self.detail = detail


class CentralRejected(GatewayError):
    """The centre refused a call itself, for good: a repeat cannot help. `code` is the gRPC code in lower case."""

    def __init__(self, code: str) -> None:
        super().__init__(f"rejected by the central service: {code}")
        self.code = code


class JournalUnavailable(GatewayError):
    """The journal could not be read or made durable; nothing irreversible may be begun."""
