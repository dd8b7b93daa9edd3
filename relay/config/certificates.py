"""Certificate files of the public listeners, looked at when a configuration is loaded."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from relay.config.places import Fault, Place, shown_path
from relay.config.settings import Tls


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the lint wants to know of one certificate."""

    not_after: datetime
    self_signed: bool


def faults(tls: Tls, place: Place) -> list[Fault]:
    """Return what keeps a listener from using these files."""
    unreadable = [
        Fault((*place, key), f"cannot read {shown_path(path)}: {cause}")
        for key, path in (("certificate", tls.certificate), ("key", tls.key))
        if (cause := _unreadable(path))
    ]
    if unreadable:
        return unreadable
    try:
        # An empty pass phrase keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.certificate, tls.key, password=""
        )
    except (ssl.SSLError, ValueError):
        message = (
            "certificate and key do not fit together, are not PEM, or the key has a pass phrase"
        )
        needs = ((*place, "certificate"), (*place, "key"))
        return [Fault(place, message, needs)]
    return []


def read(path: Path) -> Certificate:
    """Read the first certificate of a PEM file.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return Certificate(certificate.not_valid_after_utc, certificate.issuer == certificate.subject)


def _unreadable(path: Path) -> str | None:
    try:
        if path.exists() and not path.is_file():
            return "it is not a file"
        path.open("rb").close()
    except OSError as error:
        return error.strerror or "it cannot be opened"
    return None
