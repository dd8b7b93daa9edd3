"""Sign with a private key in PEM what `relay.signatures.public_key` verifies."""

from base64 import b64encode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.core.secret import Secret
from relay.signatures.public_key import (
    BEGIN,
    HASHES,
    PADDING,
    PublicKeyHash,
    ascii_text,
    check_curve,
    check_strength,
)


def sign_rsa(key: Secret, message: bytes, algorithm: PublicKeyHash = "sha256") -> str:
    """Return the signature that `Rsa` verifies.

    Raises:
        ValueError: it is no private RSA key of 2048 bits or more without a passphrase.
    """
    private = rsa_private_key(key)
    return b64encode(private.sign(message, PADDING, HASHES[algorithm])).decode("ascii")


def sign_ecdsa(key: Secret, message: bytes, algorithm: PublicKeyHash = "sha256") -> bytes:
    """Return the DER of a signature that `Ecdsa` verifies.

    Raises:
        ValueError: it is no private key on P-256 or P-384 without a passphrase.
    """
    return ec_private_key(key).sign(message, ECDSA(HASHES[algorithm]))


def sign_ed25519(key: Secret, message: bytes) -> bytes:
    """Return the signature that `Ed25519` verifies.

    Raises:
        ValueError: it is no private Ed25519 key without a passphrase.
    """
    return ed25519_private_key(key).sign(message)


def rsa_private_key(key: Secret) -> RSAPrivateKey:
    """Parse a private RSA key of 2048 bits or more.

    Raises:
        ValueError: it is none.
    """
    private = _private_key(key, "RSA", "openssl genrsa -out key.pem 2048")
    if not isinstance(private, RSAPrivateKey):
        raise ValueError("the private key is not an RSA key")  # noqa: TRY004 - a bad value
    check_strength(private.public_key())
    return private


def ec_private_key(key: Secret) -> EllipticCurvePrivateKey:
    """Parse a private key on P-256 or P-384.

    Raises:
        ValueError: it is none.
    """
    private = _private_key(
        key, "EC", "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
    )
    if not isinstance(private, EllipticCurvePrivateKey):
        raise ValueError("the private key is not an EC key")  # noqa: TRY004 - a bad value
    check_curve(private.public_key())
    return private


def ed25519_private_key(key: Secret) -> Ed25519PrivateKey:
    """Parse a private Ed25519 key.

    Raises:
        ValueError: it is none.
    """
    private = _private_key(key, "Ed25519", "openssl genpkey -algorithm ed25519 -out key.pem")
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")  # noqa: TRY004 - a bad value
    return private


def _private_key(key: Secret, kind: str, made_by: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(ascii_text(key).encode("ascii"), None)
    except TypeError:
        raise ValueError("the private key has a passphrase; give it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"not a private {kind} key in PEM{_instead(key)}; give it with --key, and `{made_by}`"
            " makes one"
        ) from None


def _instead(key: Secret) -> str:
    """Return what stands in a PEM text in place of a key that can be read."""
    found = BEGIN.search(key.reveal().decode("ascii", "replace"))
    return "" if found is None else f", but a {found[1]} or a damaged one"
