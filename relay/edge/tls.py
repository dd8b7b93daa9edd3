"""TLS for the public listeners."""

import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that speaks TLS 1.2 and up, HTTP/1.1 only.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the files are no certificate and key, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def certificate_expiry(certificate: Path) -> datetime:
    """Return when the first certificate of a PEM file ends.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no certificate.
    """
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
