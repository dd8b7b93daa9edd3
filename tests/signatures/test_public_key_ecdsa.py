"""ECDSA on P-256 and P-384."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures.public_key import Ecdsa, PublicKeyHash, UnusableKey
from tests.contracts.provider import flipped_bytes, flipped_text

P256 = ec.derive_private_key(7, ec.SECP256R1())
OTHER = ec.derive_private_key(8, ec.SECP256R1())
P384 = ec.derive_private_key(7, ec.SECP384R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def public(key: Any) -> Secret:
    given = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Secret(given)


def written(der: bytes) -> str:
    return b64encode(der).decode()


def signed(key: ec.EllipticCurvePrivateKey = P256, message: bytes = b"m") -> bytes:
    return key.sign(message, ec.ECDSA(SHA256()))


def refused(found: Ecdsa, signature: str, message: bytes = b"m") -> None:
    with pytest.raises(Refusal) as caught:
        found.verify(message, signature)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH, signature


@pytest.mark.parametrize("key", [P256, P384])
@pytest.mark.parametrize(
    ("algorithm", "digest"), [("sha256", SHA256()), ("sha384", SHA384()), ("sha512", SHA512())]
)
def test_the_hash_is_the_one_that_is_named(
    key: ec.EllipticCurvePrivateKey, algorithm: PublicKeyHash, digest: Any
) -> None:
    found = Ecdsa((public(OTHER), public(key)), algorithm)
    assert found.verify(b"m", written(key.sign(b"m", ec.ECDSA(digest)))) == 1
    for other in (SHA1(), SHA256(), SHA384(), SHA512()):
        if other.name != algorithm:
            refused(found, written(key.sign(b"m", ec.ECDSA(other))))


def test_the_base64_of_the_der_is_a_key() -> None:
    der = P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert Ecdsa((Secret(b64encode(der)),)).verify(b"m", written(signed())) == 0


def test_any_flipped_bit_refuses() -> None:
    found, der = Ecdsa((public(P256),)), signed()
    for changed in flipped_bytes(der):
        refused(found, written(changed))
    for text in flipped_text(written(der)):
        refused(found, text)
    for message in flipped_bytes(b"message"):
        refused(found, written(signed(message=b"message")), message)


def test_another_key_refuses() -> None:
    refused(Ecdsa((public(OTHER), public(P384))), written(signed()))


def test_the_two_numbers_are_written_in_one_way() -> None:
    found, der = Ecdsa((public(P256),)), signed()
    r, s = decode_dss_signature(der)
    assert found.verify(b"m", written(encode_dss_signature(r, s))) == 0
    inner = der[2:]
    for other in (
        der + b"\0",
        b"\x30\x81" + der[1:],
        b"\x30\x80" + inner + b"\0\0",
        b"\x30" + bytes([len(inner) + 1]) + b"\x02" + bytes([inner[1] + 1]) + b"\0" + inner[2:],
        b"\x31" + der[1:],
        r.to_bytes(32) + s.to_bytes(32),
        inner,
        # -1 and 1
        bytes.fromhex("30060201ff020101"),
        b"\x30\0",
        b"",
    ):
        refused(found, written(other))


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 0), (0, 1), (1, 0), (1, 1), (ORDER, ORDER), (ORDER, 0), (ORDER + 1, 1)],
)
def test_numbers_that_are_none_of_a_signature(r: int, s: int) -> None:
    # Among them the pair of zeros that some implementations took for any message.
    refused(Ecdsa((public(P256),)), written(encode_dss_signature(r, s)))


def test_the_second_signature_that_anyone_can_compute_fits_the_same_message_alone() -> None:
    r, s = decode_dss_signature(signed())
    found, second = Ecdsa((public(P256),)), written(encode_dss_signature(r, ORDER - s))
    assert found.verify(b"m", second) == 0
    refused(found, second, b"n")


def test_base64_is_strict() -> None:
    found, text = Ecdsa((public(P256),)), written(signed())
    assert found.verify(b"m", text) == 0
    for other in (text + "=", text + "\n", " " + text, "", "é"):
        refused(found, other)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (public(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "not an EC key"),
        (public(ec.derive_private_key(7, ec.SECP521R1())), "is a key on secp521r1; P-256 and"),
        (public(ec.derive_private_key(7, ec.SECP256K1())), "is a key on secp256k1; P-256 and"),
        (Secret("AAAA"), "holds no public key"),
        (Secret(""), "is empty"),
    ],
)
def test_what_is_no_such_key(key: Secret, said: str) -> None:
    with pytest.raises(UnusableKey, match=said) as caught:
        Ecdsa((public(P256), key))
    assert caught.value.position == 1
