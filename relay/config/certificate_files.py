"""Certificate files: whether a pair, or a file of authorities, can be used, and until when."""

import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from relay.config.yaml_document import ConfigIssue, Location, shown_path


@dataclass(frozen=True, slots=True)
class Certificate:
    """The end of validity of a certificate, and whether it is self-signed.

    for_clients: a client may show it: it says so, or does not say what it is for.
    """

    not_after: datetime
    self_signed: bool
    for_clients: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate with its chain, and of its private key."""

    certificate: Path
    key: Path


def certificate_issues(tls: Pair, location: Location) -> list[ConfigIssue]:
    """Return why nobody could show this certificate; nothing when it can be used."""
    unreadable = [
        ConfigIssue((*location, key), f"cannot read {shown_path(path)}: {cause}")
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
        try:
            return _unusable(tls, tls.certificate.read_bytes(), tls.key.read_bytes(), location)
        except OSError as error:
            return [ConfigIssue(location, f"cannot read certificate and key: {error.strerror}")]
    return []


def _unusable(tls: Pair, chain: bytes, key: bytes, location: Location) -> list[ConfigIssue]:
    """Return what keeps a certificate and a key that can be read from being used."""
    in_chain, in_key = _holds(chain), _holds(key)
    files = ((*location, "certificate"), (*location, "key"))
    if _KEY in in_chain and _KEY not in in_key and _CERTIFICATE in in_key:
        message = (
            f"certificate and key are swapped: {shown_path(tls.certificate)} holds a key, and"
            f" {shown_path(tls.key)} a certificate"
        )
        return [ConfigIssue(location, message, files)]
    misplaced = [
        ConfigIssue(
            (*location, name),
            f"{shown_path(path)} holds {' and '.join(held) or 'no PEM'}, where {wanted} in"
            " PEM belongs",
        )
        for name, path, held, wanted in (
            ("certificate", tls.certificate, in_chain, _CERTIFICATE),
            ("key", tls.key, in_key, _KEY),
        )
        if wanted not in held
    ]
    if misplaced:
        return misplaced
    return [_unusable_pair(tls, chain, key, location)]


def _unusable_pair(tls: Pair, chain: bytes, key: bytes, location: Location) -> ConfigIssue:
    """Return what is wrong with files of the right kind."""
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        return ConfigIssue((*location, "certificate"), _DAMAGED.format(shown_path(tls.certificate)))
    try:
        own = load_pem_private_key(key, None).public_key()
    except TypeError:
        message = (
            f"{shown_path(tls.key)} has a pass phrase, and nobody is there to type it; write one"
            " without: openssl pkey -in KEY -out NEW"
        )
        return ConfigIssue((*location, "key"), message)
    except (ValueError, UnsupportedAlgorithm):
        return ConfigIssue((*location, "key"), _DAMAGED.format(shown_path(tls.key)))
    needs = ((*location, "certificate"), (*location, "key"))
    fitting = [at for at, each in enumerate(certificates) if each.public_key() == own]
    if fitting:
        message = (
            f"the certificate of {shown_path(tls.key)} is number {fitting[0] + 1} in"
            f" {shown_path(tls.certificate)}; write it first, and its chain behind it"
        )
        if fitting[0] == 0:
            message = "certificate and key cannot be used: OpenSSL refuses them"
        return ConfigIssue(location, message, needs)
    message = (
        f"certificate and key do not fit together: {shown_path(tls.key)} is the key of another"
        f" certificate than the first in {shown_path(tls.certificate)}"
    )
    return ConfigIssue(location, message, needs)


_CLIENTS: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_ANY_USE: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_DAMAGED: Final = "{} is damaged: what stands between BEGIN and END cannot be read"
_CERTIFICATE: Final = "a certificate"
_KEY: Final = "a private key"
# A sequence with a length of two bytes, as every certificate and key begins in DER.
_DER: Final = b"\x30\x82"
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")


def _holds(content: bytes) -> list[str]:
    """Return the kinds of things that stand in a file, each once; nothing where it is no PEM."""
    if content.startswith(_DER):
        return ["DER or PKCS#12"]
    return list(dict.fromkeys(_kind(label.decode()) for label in _LABEL.findall(content)))


def _kind(label: str) -> str:
    if label.endswith("PRIVATE KEY"):
        return _KEY
    if label.endswith("CERTIFICATE"):
        return _CERTIFICATE
    article = "an" if label[0] in "AEIO" else "a"
    return f"{article} {label if label.startswith('EC ') else label.lower()}"


def authority_issues(path: Path, location: Location) -> list[ConfigIssue]:
    """Return why nobody could be trusted by this file of authorities; nothing when they can be."""
    if cause := _unreadable(path):
        return [ConfigIssue(location, f"cannot read {shown_path(path)}: {cause}")]
    try:
        content = path.read_bytes()
    except OSError as error:
        return [ConfigIssue(location, f"cannot read {shown_path(path)}: {error.strerror}")]
    held = _holds(content)
    if _CERTIFICATE not in held:
        message = (
            f"{shown_path(path)} holds {' and '.join(held) or 'no PEM'}, where certificates of"
            " authorities in PEM belong"
        )
    elif _KEY in held:
        message = (
            f"{shown_path(path)} holds a private key, too, and trust needs none; name a file with"
            " the authorities' certificates alone"
        )
    else:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except (ssl.SSLError, ValueError):
            message = _DAMAGED.format(shown_path(path))
        else:
            return []
    return [ConfigIssue(location, message)]


def read_certificate(path: Path) -> Certificate:
    """Read the first certificate of a PEM file.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return _read(x509.load_pem_x509_certificate(path.read_bytes()))


def read_authorities(path: Path) -> Certificate:
    """Read the one of several certificates of a PEM file that is valid the longest.

    Raises:
        OSError, ValueError: one of them cannot be read.
    """
    found = map(_read, x509.load_pem_x509_certificates(path.read_bytes()))
    return max(found, key=lambda each: each.not_after)


def _read(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        certificate.not_valid_after_utc,
        certificate.issuer == certificate.subject,
        _is_for_clients(certificate),
    )


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return True
    return not {_CLIENTS, _ANY_USE}.isdisjoint(found.value)


def _unreadable(path: Path) -> str | None:
    try:
        if path.exists() and not path.is_file():
            return "it is not a file"
        path.open("rb").close()
    except OSError as error:
        return error.strerror or "it cannot be opened"
    return None
