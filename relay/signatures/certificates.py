"""What a peer's certificate says of itself, whether it is trusted or not."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """Text in it is the peer's own.

    names: the host names and addresses that it is for; its common name where it lists none.
    issuer: the common name of its issuer, or all that is known of it.
    """

    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime


def certificate_info(der: bytes) -> CertificateInfo:
    """Return what a certificate says.

    Raises:
        ValueError: it cannot be read.
    """
    certificate = x509.load_der_x509_certificate(der)
    return CertificateInfo(
        names=_alternative_names(certificate) or (_common_name(certificate.subject),),
        issuer=_common_name(certificate.issuer),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _common_name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
