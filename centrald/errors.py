"""Every exception that crosses a package border of the service, in one tree.

Business refusals (no reservation, out of hours) are values, never exceptions::

    CentralError
    ├── ConfigError          the configuration file, or what it points to
    ├── AlreadyThere         a command would overwrite something
    ├── NotThere             a command names something that does not exist
    ├── Refused              a command asks for what cannot be
    ├── StorageFailed        the database cannot be reached, or not be read or written by a command
    └── CallError            a broken call: one gRPC status each
        ├── BadContent       INVALID_ARGUMENT: malformed
        │   └── ContentChanged    the same key with other content
        ├── OutOfOrder       FAILED_PRECONDITION: unknown, released or out of order
        ├── NotYours         PERMISSION_DENIED: another kiosk's attempt
        ├── NotIdentified    UNAUTHENTICATED: no usable kiosk name in the certificate
        ├── NeverBegun       NOT_FOUND
        ├── TooMany          RESOURCE_EXHAUSTED
        └── KeysUnavailable  UNAVAILABLE: the token that holds the master key does not answer
"""

from __future__ import annotations

import datetime


class CentralError(Exception):
    """Root of the service's own exceptions. Messages hold no secrets and no personal data."""


class ConfigError(CentralError):
    """The configuration, or a file it names, cannot be used; the message names it."""


class AlreadyThere(CentralError):
    """The command would overwrite what exists."""


class NotThere(CentralError):
    """The command names what does not exist."""


class Refused(CentralError):
    """The command asks for what cannot be, as things stand."""


class StorageFailed(CentralError):
    """The database cannot be reached, or could not be read or written by a command."""


class CallError(CentralError):
    """A call that is refused as broken; the message is the status text the caller sees."""


class BadContent(CallError):
    """A field is malformed."""


class ContentChanged(BadContent):
    """A call that was made before comes again with other content."""


class OutOfOrder(CallError):
    """The attempt is unknown, released, or the call comes out of order."""


class NotYours(CallError):
    """The attempt belongs to another kiosk."""


class NotIdentified(CallError):
    """The client certificate names no kiosk."""


class NeverBegun(CallError):
    """No attempt of this id was begun by this kiosk."""


class TooMany(CallError):
    """More requests of this kind than the service takes; `wait` says for how long, where that is known."""

    def __init__(self, message: str, wait: datetime.timedelta | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class KeysUnavailable(CallError):
    """The token that holds the master key does not answer, or not in time."""
