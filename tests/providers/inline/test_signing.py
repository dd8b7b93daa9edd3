"""Signing as a described sender does."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from relay.core.request import Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, SampleOrder
from relay.providers.inline import NOWHERE, Description, HeaderField, HeaderFields
from relay.providers.inline.provider import InlineProvider
from tests.contracts.provider import delivery_of, outcome
from tests.providers.inline.describe import AT, described

# Samples that are signed with a private key.

PRIVATE_KEY_URL = "https://pay.example.com/in"
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


CURVE_KEY = ec.derive_private_key(7, ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> Secret:
    kind = serialization.PrivateFormat.PKCS8
    how = serialization.NoEncryption()
    return Secret(key.private_bytes(serialization.Encoding.PEM, kind, how))


def public(key: Any) -> Secret:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return Secret(key.public_key().public_bytes(serialization.Encoding.PEM, kind))


@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"scheme": "ed25519"}, KEY),
        ({"scheme": "ecdsa"}, CURVE_KEY),
        ({"scheme": "ecdsa", "algorithm": "sha512"}, CURVE_KEY),
        ({"scheme": "rsa"}, RSA_KEY),
        ({"scheme": "rsa", "algorithm": "sha384"}, RSA_KEY),
    ],
)
def test_the_public_half_verifies(rule: dict[str, Any], key: Any, encoding: str) -> None:
    provider = InlineProvider(described(**rule, encoding=encoding))
    sample = provider.sample(SampleOrder(PRIVATE_KEY_URL, pem(key), AT))
    inspector = provider.bind(EndpointOptions(secrets=(public(key),)))
    assert isinstance(outcome(inspector, delivery_of(sample, PRIVATE_KEY_URL, AT)), Verification)


@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(("scheme", "text"), [("hmac", "{body}"), ("digest", "{body}{secret}")])
def test_the_shared_secret_verifies(scheme: str, text: str, algorithm: str, encoding: str) -> None:
    rule: dict[str, Any] = {
        "scheme": scheme,
        "algorithm": algorithm,
        "encoding": encoding,
        "signed": text,
    }
    assert _accepted(described(**rule), "key")


def test_a_pair_of_name_and_password_verifies() -> None:
    description = described(scheme="basic", source=HeaderField("Authorization"))
    assert _accepted(description, "name:pass:word")


def test_the_first_of_several_fields_is_signed() -> None:
    assert _accepted(described(source=HeaderFields(("X-One", "X-Two"))), "key")


def test_a_sample_without_a_proof() -> None:
    provider = InlineProvider(described(scheme="none", source=NOWHERE))
    sample = provider.sample(SampleOrder(PRIVATE_KEY_URL, Secret("unsigned"), AT))
    assert [name for name, _ in sample.headers] == ["Content-Type"]
    found = outcome(provider.bind(EndpointOptions()), delivery_of(sample, PRIVATE_KEY_URL, AT))
    assert isinstance(found, Verification)
    assert (found.signed, found.secret) == ((), None)


def _accepted(description: Description, secret: str) -> bool:
    provider = InlineProvider(description)
    sample = provider.sample(SampleOrder(PRIVATE_KEY_URL, Secret(secret), AT))
    inspector = provider.bind(EndpointOptions(secrets=(Secret(secret),)))
    return isinstance(outcome(inspector, delivery_of(sample, PRIVATE_KEY_URL, AT)), Verification)
