"""TLS to an origin: contexts made from files, and what a peer says of our certificate.

A peer that is not content with our certificate says so by an alert. In TLS 1.2 that ends the
handshake. In TLS 1.3 the handshake has ended for us before the peer looks, so that the alert comes
with the first read, and a request may be under way by then.
"""

import socket
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relay.core.files import refuse_irregular

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class CertificateWanted(ssl.SSLError):
    """The peer wants a client certificate, and was shown none."""


class CertificateRefused(ssl.SSLError):
    """The peer does not accept the client certificate that it was shown."""


class NameUnknown(ssl.SSLError):
    """The peer serves nothing of the name that it was called by."""


class ClientContext(ssl.SSLContext):
    """A context for connections to origins. shows_certificate: whether it has one of ours."""

    shows_certificate = False


def client_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ClientContext:
    """Return a new context for TLS 1.2 and later, with HTTP/1.1 alone in ALPN. Reads files.

    A context that has failed to load a pair once is of no use any more, and connections may be
    under way with one that is in use: so each state of the files gets a context of its own.

    ca: the authorities to trust, instead of the system's; roots or not, what is listed is trusted.
    certificate, key: what to show to peers that ask, with its chain; both or none.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the files hold none of these, or certificate and key do not fit together.
        ValueError: this cannot be the path of a file.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _ClientSession
    if ca is None:
        context.load_default_certs()
    else:
        refuse_irregular(ca)
        context.load_verify_locations(ca)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if certificate is not None and key is not None:
        refuse_irregular(certificate)
        refuse_irregular(key)
        # An empty pass phrase keeps OpenSSL from asking for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
        context.shows_certificate = True
        # Some servers ask for it only when they have seen which resource is requested.
        context.post_handshake_auth = True
    return context


# ---- alerts ---------------------------------------------------------------------------------

# By what OpenSSL calls them. A client gets them for nothing but its certificate (RFC 8446, 6.2).
_OF_CERTIFICATES: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_NO_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
    }
)
_OTHERS: Final[Mapping[str, type[ssl.SSLError]]] = MappingProxyType(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": CertificateWanted,
        "TLSV1_UNRECOGNIZED_NAME": NameUnknown,
    }
)
# Said where there is no version or cipher in common, too: but that is before one was agreed on.
_OF_HANDSHAKES: Final = "SSLV3_ALERT_HANDSHAKE_FAILURE"


def refusal(error: ssl.SSLError, *, shown: bool, agreed: bool = True) -> ssl.SSLError:
    """Return what an error of TLS says of our certificate or name; the error itself otherwise.

    shown: whether the context has a certificate of ours. agreed: whether there was a cipher.
    """
    reason = getattr(error, "reason", None) or ""
    kind = _OTHERS.get(reason)
    if reason in _OF_CERTIFICATES or (reason == _OF_HANDSHAKES and agreed):
        kind = CertificateRefused if shown else CertificateWanted
    if kind is None:
        return error
    told = kind(*error.args)
    told.reason = reason
    return told


class _ClientSession(ssl.SSLObject):
    """One connection; its handshake raises what `refusal` makes of an alert."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            shown = getattr(self.context, "shows_certificate", False)
            told = refusal(error, shown=shown, agreed=self.cipher() is not None)
            if told is error:
                raise
            raise told from error


# ---- alerts behind a broken connection ------------------------------------------------------


class LastWords(socket.socket):
    """A socket whose failed writes are told by its reads, behind all that the peer has sent.

    A peer that sends an alert closes at once, and with bytes of ours unread that resets the
    connection. A write fails from then on, and whoever gives up there never reads the alert.
    """

    _failure: OSError | None = None

    @classmethod
    def of(cls, opened: socket.socket) -> "LastWords":
        """Take over a socket, which is of no use any more."""
        blocking = opened.getblocking()
        family, kind, protocol = opened.family, opened.type, opened.proto
        taken = cls(family, kind, protocol, opened.detach())
        taken.setblocking(blocking)
        return taken

    def send(self, data: "ReadableBuffer", flags: int = 0, /) -> int:
        if self._failure is None:
            try:
                return super().send(data, flags)
            except ConnectionError as error:
                self._failure = error
        return memoryview(data).nbytes

    def sendmsg(  # type: ignore[override] # without what asyncio does not give
        self, buffers: "Iterable[ReadableBuffer]", /
    ) -> int:
        parts = list(buffers)
        if self._failure is None:
            try:
                return super().sendmsg(parts)
            except ConnectionError as error:
                self._failure = error
        return sum(memoryview(each).nbytes for each in parts)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0, /) -> int:
        received = super().recv_into(buffer, nbytes, flags)
        if not received and self._failure is not None:
            raise self._failure
        return received
