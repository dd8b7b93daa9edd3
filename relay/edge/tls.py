"""TLS for the public listeners."""

import ssl
from pathlib import Path

from relay.files import Fingerprint, fingerprint


class ServerTls:
    """The certificate and key of one listener, which may be renewed while it listens.

    context: what a listener is given, once. Each handshake takes the pair that is newest then, and
        connections keep what they began with.

    Raises:
        OSError, ssl.SSLError: as `server_context`.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate = certificate
        self.key = key
        # Looked at before it is read: what changes meanwhile is then found stale.
        self._read = self._look()
        self.context = server_context(certificate, key)
        self._newest = self.context
        # A context that has failed to load a pair once is of no use any more, so none is ever
        # loaded into this one again: a handshake is moved to another context as it begins.
        self.context.sni_callback = self._choose

    def is_stale(self) -> bool:
        """Say whether the files are others than those that were taken. Raises nothing."""
        return self._look() != self._read

    def renew(self) -> None:
        """Take the pair that is in the files now, for every handshake from here on.

        May be called from any thread.

        Raises:
            OSError, ssl.SSLError: as `server_context`; the pair before stays.
        """
        found = self._look()
        self._newest = server_context(self.certificate, self.key)
        self._read = found

    def _look(self) -> Fingerprint:
        return fingerprint((self.certificate, self.key))

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that speaks TLS 1.2 and up, HTTP/1.1 only.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the files are no certificate and key, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # An empty pass phrase keeps OpenSSL from asking for one at the terminal.
    context.load_cert_chain(certificate, key, password="")
    return context
