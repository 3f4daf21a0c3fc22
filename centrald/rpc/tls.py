"""The listeners' certificates, read anew when their files change: a new one counts from the next connection on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from centrald.errors import ConfigError

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files."""

    certificate: Path  # the server's, with what follows it in the chain
    key: Path
    kiosk_authority: Path


class LiveCertificate:
    """One listener's certificate, and the authority of those who connect, if they need a certificate themselves.

    Certificate and key are two files, so between two writes they do not fit: then the last good pair stays, as it does
    when anything else is wrong with them.
    """

    def __init__(self, files: TlsFiles, *, mutual: bool) -> None:
        self._paths = (files.certificate, files.key, *((files.kiosk_authority,) if mutual else ()))
        self._mutual = mutual
        self._seen: _Stamp | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a listener needs; raises ConfigError."""
        self._seen = self._stamp()
        first = self._read()
        changed = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._changed)  # None: as before
        return grpc.dynamic_ssl_server_credentials(first, changed, require_client_authentication=self._mutual)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates, or None; called for every handshake, on a thread of gRPC's."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            new = self._read()
        except ConfigError as error:
            _log.warning("new certificates cannot be used; the last good ones stay", extra={"error": str(error)})
            return None
        self._seen = stamp
        _log.info("certificates read anew", extra={"files": [str(path) for path in self._paths]})
        return new

    def _stamp(self) -> _Stamp:
        try:
            found = [path.stat() for path in self._paths]
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            certificate, key, *authority = (path.read_bytes() for path in self._paths)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        path = self._paths[0]
        try:
            issued = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
            for pem in authority:
                x509.load_pem_x509_certificates(pem)
        except (ValueError, TypeError):
            raise ConfigError(f"{' or '.join(map(str, self._paths))} is not PEM, or the key is encrypted") from None
        if issued.public_key() != private.public_key():
            raise ConfigError(f"{path} and {self._paths[1]} do not belong together")
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority[0] if authority else None)
