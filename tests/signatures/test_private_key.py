"""Signing with a private key in PEM."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.core.secret import Secret
from relay.signatures.private_key import sign_ecdsa, sign_ed25519, sign_rsa
from relay.signatures.public_key import Rsa

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
CURVE = ec.derive_private_key(7, ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def private(key: Any, passphrase: bytes = b"") -> Secret:
    how: Any = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def public(key: Any) -> Secret:
    given = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Secret(given)


def test_a_private_key_with_literal_line_breaks_signs() -> None:
    text = private(RSA).reveal().decode().replace("\n", "\\n")
    assert Rsa((public(RSA),)).verify(b"m", sign_rsa(Secret(text), b"m")) == 0


CERTIFICATE = Secret("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")


@pytest.mark.parametrize(
    ("sign", "key", "said"),
    [
        (sign_rsa, Secret("server-key"), "openssl genrsa"),
        (sign_rsa, Secret(""), "not a private RSA key"),
        (sign_rsa, public(RSA), "not a private RSA key in PEM, but a PUBLIC KEY"),
        (sign_rsa, CERTIFICATE, "not a private RSA key in PEM, but a CERTIFICATE"),
        (sign_rsa, private(ED25519), "is not an RSA key"),
        (sign_rsa, private(SMALL), "1024 bits"),
        (sign_rsa, private(RSA, b"word"), "passphrase"),
        (sign_ecdsa, Secret("server-key"), "openssl ecparam -name prime256v1"),
        (sign_ecdsa, public(CURVE), "not a private EC key in PEM, but a PUBLIC KEY"),
        (sign_ecdsa, private(CURVE, b"word"), "passphrase"),
        (sign_ecdsa, private(RSA), "is not an EC key"),
        (sign_ecdsa, private(ec.derive_private_key(7, ec.SECP256K1())), "on secp256k1"),
        (sign_ed25519, Secret("server-key"), "openssl genpkey -algorithm ed25519"),
        (sign_ed25519, public(ED25519), "not a private Ed25519 key in PEM, but a PUBLIC KEY"),
        (sign_ed25519, private(ED25519, b"word"), "has a passphrase"),
        (sign_ed25519, private(CURVE), "is not an Ed25519 key"),
    ],
)
def test_what_cannot_sign(sign: Callable[[Secret, bytes], object], key: Secret, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        sign(key, b"m")
    assert "server-key" not in str(caught.value)
