"""Every exception that crosses a package border of the service, in one tree.

Business refusals (no reservation, out of hours) are values, never exceptions::

    CentralError
    ├── ConfigError          the configuration file, or what it points to
    ├── AlreadyThere         a command would overwrite something
    ├── NotThere             a command names something that does not exist
    ├── StorageFailed        the database could not be read or written by a command
    └── CallError            a broken call: one gRPC status each
        ├── BadContent       INVALID_ARGUMENT: malformed, or other content under a known key
        ├── OutOfOrder       FAILED_PRECONDITION: unknown, released or out of order
        ├── NotYours         PERMISSION_DENIED: another kiosk's attempt
        ├── NotIdentified    UNAUTHENTICATED: no usable kiosk name in the certificate
        ├── NeverBegun       NOT_FOUND
        └── TooMany          RESOURCE_EXHAUSTED
"""

from __future__ import annotations


class CentralError(Exception):
    """Root of the service's own exceptions. Messages hold no secrets and no personal data."""


class ConfigError(CentralError):
    """The configuration, or a file it names, cannot be used; the message names it."""


class AlreadyThere(CentralError):
    """The command would overwrite what exists."""


class NotThere(CentralError):
    """The command names what does not exist."""


class StorageFailed(CentralError):
    """The database could not be read or written by a command."""


class CallError(CentralError):
    """A call that is refused as broken; the message is the status text the caller sees."""


class BadContent(CallError):
    """A field is malformed, or a known key came with other content."""


class OutOfOrder(CallError):
    """The attempt is unknown, released, or the call comes out of order."""


class NotYours(CallError):
    """The attempt belongs to another kiosk."""


class NotIdentified(CallError):
    """The client certificate names no kiosk."""


class NeverBegun(CallError):
    """No attempt of this id was begun by this kiosk."""


class TooMany(CallError):
    """More open requests of this kind than the service keeps."""
