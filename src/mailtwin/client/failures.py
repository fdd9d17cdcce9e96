"""What the operating system and the TLS library raise, told to people as errors of ours."""

from __future__ import annotations

import socket
import ssl
from copy import copy
from pathlib import Path

from mailtwin.client.endpoint import Endpoint, Place
from mailtwin.errors import MailtwinError, RemoteProtocolError, TlsError, UnreachableError

_EXPIRED = frozenset({10})
_NOT_YET_VALID = frozenset({9})
_OTHER_NAME = frozenset({62, 64})
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
HINT_PORT = 'imaps:// (tls = "implicit") usually is on port 993, imap:// (tls = "starttls") on port 143'
_HINT_PEM = "a PEM file begins with -----BEGIN CERTIFICATE-----"
_HINT_CA = "if this is your own server, give its certificate or its authority's with --ca-file"


def connect_failure(endpoint: Endpoint, error: OSError) -> MailtwinError:
    """The error for a connection that could not be made."""
    if isinstance(error, ssl.SSLError):
        return tls_failure(endpoint, error)
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{endpoint}: no connection in time")
    if isinstance(error, socket.gaierror):
        return UnreachableError(f"{endpoint.host}: unknown host", hint="check the spelling and the network")
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(f"{endpoint}: connection refused", hint="check host and port")
    if isinstance(error, ConnectionError):
        return UnreachableError(f"{endpoint}: the connection broke off: {error.strerror or error}")
    return UnreachableError(f"{endpoint}: no connection: {error.strerror or error}")


def tls_failure(endpoint: Endpoint, error: ssl.SSLError) -> MailtwinError:
    """The error for a TLS handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(endpoint, error)
    reason = (error.reason or "").upper()
    if reason in _NOT_TLS:
        return RemoteProtocolError(
            f"{endpoint}: the server does not speak TLS on this port",
            hint=HINT_PORT,
        )
    said = reason.replace("_", " ").lower() or str(error)
    return TlsError(f"{endpoint}: TLS could not be established: {said}")


def _certificate_failure(endpoint: Endpoint, error: ssl.SSLCertVerificationError) -> TlsError:
    code = error.verify_code
    if code in _EXPIRED:
        return TlsError(f"{endpoint}: the server's certificate has expired; no password was sent")
    if code in _NOT_YET_VALID:
        hint = "check this machine's clock"
        return TlsError(
            f"{endpoint}: the server's certificate is not valid yet; no password was sent", hint=hint
        )
    if code in _OTHER_NAME:
        return TlsError(
            f"{endpoint}: the server's certificate is for another name than {endpoint.host!r}; no password was sent",
            hint="use the host name that the certificate is for",
        )
    return TlsError(
        f"{endpoint}: the server's certificate is not trusted ({error.verify_message}); no password was sent",
        hint=_HINT_CA,
    )


def certificates_failure(file: Path | None, error: OSError) -> TlsError:
    """The error for a file of certificates to trust that cannot be used."""
    if isinstance(error, ssl.SSLError):
        return TlsError(f"{file}: not a file of certificates (PEM)", hint=_HINT_PEM)
    return TlsError(
        f"{file}: the certificates cannot be read: {error.strerror or error}", hint="correct its path"
    )


def located(endpoint: Place, error: MailtwinError) -> MailtwinError:
    """The same error, with the name of the server in front."""
    named = copy(error)
    named.message = f"{endpoint.host}: {error.message}"
    named.args = (named.message,)
    return named
