"""Why there is no usable answer: errors of the client to upstreams, mapped to causes."""

import socket
import ssl
from enum import StrEnum
from typing import Final

from relay.delivery.http import (
    AddressNotAllowed,
    CannotConnect,
    CertificateRefused,
    CertificateWanted,
    Closed,
    ExchangeFailed,
    Malformed,
    NameUnknown,
    Response,
    TooLong,
)


class Cause(StrEnum):
    """Why there is no usable answer.

    `oversized` and `encoded` are answers that cannot be passed back: too long, or in a coding that
    was not requested. `token`: there was none to send with; attempts are as pointless as those for
    an upstream that is away, and count as such. Of the last three the event cannot be written as a
    request, relay stops, or relay has a fault.
    """

    REFUSED = "refused"
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"
    DNS = "dns"
    ADDRESS_NOT_ALLOWED = "address not allowed"
    TLS = "tls"
    TLS_UNKNOWN_CA = "tls: unknown CA"
    TLS_EXPIRED = "tls: expired"
    TLS_NOT_YET_VALID = "tls: not yet valid"
    TLS_WRONG_NAME = "tls: wrong name"
    TLS_CERTIFICATE_WANTED = "tls: client certificate wanted"
    TLS_CERTIFICATE_REFUSED = "tls: client certificate refused"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    ENCODED = "encoded"
    TOKEN = "token"  # noqa: S105 - a word
    UNSENDABLE = "unsendable"
    SHUTDOWN = "shutdown"
    FAULT = "fault"


#: Causes that say nothing about the upstream.
NEUTRAL = frozenset({Cause.UNSENDABLE, Cause.SHUTDOWN, Cause.FAULT})


class TokenMissing(ExchangeFailed):
    """There is no token to send with."""


class Unsendable(ExchangeFailed):
    """The event cannot be written as a request."""


#: By type of error; the first match counts, so the narrow types stand first.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (AddressNotAllowed, Cause.ADDRESS_NOT_ALLOWED),
    (CertificateWanted, Cause.TLS_CERTIFICATE_WANTED),
    (CertificateRefused, Cause.TLS_CERTIFICATE_REFUSED),
    (NameUnknown, Cause.TLS_WRONG_NAME),
    (ssl.SSLError, Cause.TLS),
    (socket.gaierror, Cause.DNS),
    # A host name that DNS has no way to ask for.
    (ValueError, Cause.DNS),
    (TimeoutError, Cause.TIMEOUT),
    (ConnectionRefusedError, Cause.REFUSED),
    (ConnectionError, Cause.RESET),
    (Closed, Cause.CLOSED),
    (TokenMissing, Cause.TOKEN),
    (TooLong, Cause.OVERSIZED),
    (Unsendable, Cause.UNSENDABLE),
    (Malformed, Cause.MALFORMED),
)


#: What is wrong with an upstream's certificate, by OpenSSL's code (`openssl verify`, DIAGNOSTICS);
#: any other is plain `tls`.
_CERTIFICATE_CAUSES = {
    **dict.fromkeys((2, 18, 19, 20, 21), Cause.TLS_UNKNOWN_CA),
    9: Cause.TLS_NOT_YET_VALID,
    10: Cause.TLS_EXPIRED,
    **dict.fromkeys((62, 64), Cause.TLS_WRONG_NAME),
}


def cause_of(error: Exception) -> Cause:
    """Return the cause of an error, whichever library raised it."""
    if not isinstance(error, ExchangeFailed | OSError):
        return Cause.FAULT
    unconnected = isinstance(error, CannotConnect)
    reason = error.__cause__ if unconnected else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _CERTIFICATE_CAUSES.get(getattr(reason, "verify_code", 0), Cause.TLS)
    otherwise = Cause.REFUSED if unconnected else Cause.RESET
    return next((cause for kind, cause in _CAUSES if isinstance(reason, kind)), otherwise)


# nginx makes every handshake, and answers what it does not like of a client certificate.
_CERTIFICATE_ANSWERS: Final = (
    (b"No required SSL certificate was sent", Cause.TLS_CERTIFICATE_WANTED),
    (b"The SSL certificate error", Cause.TLS_CERTIFICATE_REFUSED),
)
_BAD_REQUEST: Final = 400


def certificate_cause(answer: Response) -> Cause | None:
    """Return what an answer over TLS says of our client certificate; None for any other answer.

    It is the answer of what stands in front of an upstream: the upstream has seen nothing.
    """
    if answer.status != _BAD_REQUEST:
        return None
    return next((cause for text, cause in _CERTIFICATE_ANSWERS if text in answer.body), None)
