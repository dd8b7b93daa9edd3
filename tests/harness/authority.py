"""Certificate authorities of their own, and what they issue, as files and as servers' contexts."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_YEARS = (2020, 2120)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, its key, and its serial number."""

    certificate: Path
    key: Path
    serial: int

    @property
    def der(self) -> bytes:
        """The certificate alone."""
        chain = x509.load_pem_x509_certificates(self.certificate.read_bytes())
        return chain[0].public_bytes(Encoding.DER)


class Authority:
    """One authority. `file` is its certificate."""

    def __init__(self, folder: Path, name: str = "ca", ca: trustme.CA | None = None) -> None:
        self._ca = ca or trustme.CA()
        self._folder = folder
        self._name = name
        self._issued = 0
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def child(self, name: str) -> "Authority":
        """Return an authority that this one has signed."""
        return Authority(self._folder, name, self._ca.create_child_ca())

    def issue(self, *names: str, years: tuple[int, int] = _YEARS) -> Pair:
        """Write a new pair for these names or addresses, valid from year to year."""
        begin, end = (datetime(each, 1, 1, tzinfo=UTC) for each in years)
        issued = self._ca.issue_cert(*names, not_before=begin, not_after=end)
        self._issued += 1
        stem = f"{self._name}-{self._issued}"
        certificate, key = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        own = x509.load_pem_x509_certificate(certificate.read_bytes())
        return Pair(certificate, key, own.serial_number)

    def server(
        self,
        *names: str,
        years: tuple[int, int] = _YEARS,
        clients: "Authority | None" = None,
        version: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """Return a server's context with a new pair; with `clients` it demands theirs."""
        pair = self.issue(*names, years=years)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients is not None:
            context.load_verify_locations(clients.file)
            context.verify_mode = ssl.CERT_REQUIRED
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
