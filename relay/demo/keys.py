"""Secrets for one run of the demo, made up on the spot."""

import secrets
from base64 import b64encode
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.secret import Secret


@dataclass(frozen=True, slots=True)
class Pair:
    """What the sender signs with, what the relay is given, and what a forger signs with."""

    signing: Secret
    verifying: str
    forged: Secret


def shared() -> Pair:
    """Return a secret that both sides know."""
    secret = secrets.token_urlsafe(24)
    return Pair(Secret(secret), secret, Secret(secrets.token_urlsafe(24)))


def standard_webhooks() -> Pair:
    """Return a secret that both sides know, as Standard Webhooks writes it."""
    signing, forged = (f"whsec_{b64encode(secrets.token_bytes(24)).decode()}" for _ in range(2))
    return Pair(Secret(signing), signing, Secret(forged))


def asymmetric() -> Pair:
    """Return an RSA key: the private half signs, the public half verifies."""
    private, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Pair(_pem(private), public.decode(), _pem(other))


def _pem(key: rsa.RSAPrivateKey) -> Secret:
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
