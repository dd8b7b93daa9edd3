import errno
import os
import socket
import ssl

import pytest

from relay.delivery.causes import Cause, cause_of, certificate_cause
from relay.delivery.http import (
    AddressNotAllowed,
    CannotConnect,
    CertificateRefused,
    CertificateWanted,
    Closed,
    Malformed,
    NameUnknown,
    Response,
    TooLong,
)


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def unconnected(cause: Exception) -> Exception:
    error = CannotConnect(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (unconnected(socket.gaierror(socket.EAI_NONAME, "no such name")), Cause.DNS),
        (unconnected(UnicodeError("label too long")), Cause.DNS),
        (unconnected(AddressNotAllowed()), Cause.ADDRESS_NOT_ALLOWED),
        (unconnected(os_error(errno.ECONNREFUSED)), Cause.REFUSED),
        (unconnected(os_error(errno.EHOSTUNREACH)), Cause.REFUSED),
        (unconnected(os_error(errno.ECONNRESET)), Cause.RESET),
        (unconnected(os_error(errno.ETIMEDOUT)), Cause.TIMEOUT),
        (unconnected(OSError("Multiple exceptions")), Cause.REFUSED),
        (unconnected(ssl.SSLError(1, "alert")), Cause.TLS),
        (unconnected(ssl.SSLCertVerificationError(1, "no")), Cause.TLS),
        (ssl.SSLError(1, "alert"), Cause.TLS),
        (unconnected(CertificateWanted(1, "alert")), Cause.TLS_CERTIFICATE_WANTED),
        (CertificateWanted(1, "alert"), Cause.TLS_CERTIFICATE_WANTED),
        (CertificateRefused(1, "alert"), Cause.TLS_CERTIFICATE_REFUSED),
        (unconnected(NameUnknown(1, "alert")), Cause.TLS_WRONG_NAME),
        (os_error(errno.EPIPE), Cause.RESET),
        (os_error(errno.ECONNRESET), Cause.RESET),
        (os_error(errno.EHOSTUNREACH), Cause.RESET),
        (os_error(errno.ETIMEDOUT), Cause.TIMEOUT),
        (TimeoutError(), Cause.TIMEOUT),
        (Closed(), Cause.CLOSED),
        (Malformed(), Cause.MALFORMED),
        (TooLong(), Cause.OVERSIZED),
    ],
)
def test_foreign_errors_are_translated(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (
            400,
            b"<center>No required SSL certificate was sent</center>",
            "wanted",
        ),
        (400, b"<center>The SSL certificate error</center>", "refused"),
        (400, b"<center>400 Bad Request</center>", None),
        (403, b"<center>No required SSL certificate was sent</center>", None),
        (200, b"No required SSL certificate was sent", None),
    ],
)
def test_an_answer_in_place_of_an_alert_is_told(
    status: int, body: bytes, cause: str | None
) -> None:
    answer = Response()
    answer.status, answer.body = status, body
    assert certificate_cause(answer) == (
        None if cause is None else f"tls: client certificate {cause}"
    )
