"""Hashes that are no longer recommended, and secrets of the kinds that there are."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.config.files import BUILT_IN, changed, good
from tests.config.lints import findings
from tests.contracts.provider import new_rsa_keys

BLOCK = """\
    provider:
      name: shop
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature:
        scheme: hmac
        algorithm: sha256
        from: {header: X-Signature}
"""
DIGEST = "digest\n        signed: '{body}{secret}'"
HMAC_SHA1 = (
    "is an HMAC with SHA-1, which is sound still, and no longer recommended; take sha256 if the"
    " sender can, or say in about.traps that it cannot"
)


def codes(scheme: str, algorithm: str, traps: str = "") -> list[str]:
    block = BLOCK.replace("hmac", scheme).replace("sha256", algorithm)
    if traps:
        block += f"      about: {{title: A shop, traps: [{traps}]}}\n"
    found = findings(good(changed((BUILT_IN, block)), {"KEY": "0123456789abcdef"}))
    return [each.rpartition(" [")[2].rstrip("]") for each in found]


def test_the_message_says_what_to_do() -> None:
    block = BLOCK.replace("sha256", "sha1")
    found = findings(good(changed((BUILT_IN, block)), {"KEY": "0123456789abcdef"}))
    where = "14:20: warning: endpoints.0.provider.signature.algorithm"
    assert found == [f"{where}: {HMAC_SHA1} [weak-hash]"]


@pytest.mark.parametrize("scheme", ["hmac", DIGEST])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_md5_and_sha1_are_warned_of(scheme: str, algorithm: str) -> None:
    assert codes(scheme, algorithm) == (["weak-hash"] if algorithm in {"md5", "sha1"} else [])


@pytest.mark.parametrize(
    ("algorithm", "traps", "warned"),
    [
        ("sha1", "HMAC with SHA-1: it has nothing else", False),
        ("sha1", "it knows SHA1 alone", False),
        ("md5", "MD5 is broken", False),
        ("md5", "SHA-1 is broken", True),
        ("sha1", "no time is signed", True),
    ],
)
def test_what_is_to_be_minded_already_is_not_said_again(
    algorithm: str, traps: str, *, warned: bool
) -> None:
    assert codes("hmac", algorithm, f'"{traps}"') == (["weak-hash"] if warned else [])


# ---- secrets of these schemes ---------------------------------------------------------------

RSA_KEY = new_rsa_keys().verifying.reveal().decode()
EC_KEY = (
    derive_private_key(7, SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
JWK = '{"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}\n'


@pytest.mark.parametrize(
    ("signature", "secret", "found"),
    [
        ("jwt, algorithms: [RS256], audience: us", RSA_KEY, []),
        ("jwt, algorithms: [RS256], audience: us, secret_encoding: base64", f"{RSA_KEY}\n", []),
        ("jwt, algorithms: [HS256]", JWK, []),
        ("jwt, algorithms: [HS256]", "0123456789abcdef ", ["odd-secret"]),
        ("jwt, algorithms: [HS256]", "0123456789", ["short-secret"]),
        ("basic", "a name of its own:0123456789", ["short-secret"]),
        ("basic", "relay:0123456789abcdef", []),
        ("ecdsa, from: {header: X-A}", EC_KEY, []),
    ],
)
def test_secrets_are_judged_by_what_they_are(signature: str, secret: str, found: list[str]) -> None:
    block = BLOCK.partition("      signature:")[0] + f"      signature: {{scheme: {signature}}}\n"
    said = findings(good(changed((BUILT_IN, block)), {"KEY": secret}))
    assert [each.rpartition(" [")[2].rstrip("]") for each in said] == found
