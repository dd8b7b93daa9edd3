"""Signed texts with the values of a message in them."""

import hashlib
from base64 import b64encode

import pytest

from relay.core.errors import Reason, Refusal
from relay.core.request import Verification
from relay.providers.inline import FormField, HeaderField
from relay.providers.inline.filled import HashOfSecret, shown, with_secret
from relay.signatures import SignedText
from tests.contracts.provider import outcome
from tests.providers.inline.describe import bound, delivery, described

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_the_secret_stands_where_it_belongs() -> None:
    inner = HashOfSecret("md5", "hex", (b"a", None))
    parts = (b"x", None, inner, HashOfSecret("sha1", "base64", (inner,)))
    md5 = hashlib.md5(b"akey", usedforsecurity=False).hexdigest().encode()
    sha1 = b64encode(hashlib.sha1(md5, usedforsecurity=False).digest())
    assert with_secret(parts, b"key") == b"xkey" + md5 + sha1
    assert b"key" not in repr(parts).encode()


def test_a_hash_of_the_secret_is_shown_by_what_it_is_of() -> None:
    inner = HashOfSecret("md5", "hex", (b"a", None))
    assert shown((b"x", inner, None)) == (b"x", b"md5_hex(", b"a", None, b")", None)


def hashed(kind: str, *texts: bytes) -> str:
    return hashlib.new(kind, b"".join(texts), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("secret", ["key", "another"])
def test_a_hash_of_a_hash_of_the_secret(secret: str) -> None:
    inspector = bound(
        described(
            scheme="digest",
            algorithm="sha1",
            source=FormField("sign"),
            signed="{md5_hex:{secret}{form:bill}{form:status}}",
        ),
        "other",
        "key",
    )
    inner = hashed("md5", secret.encode(), b"A-12")
    body = f"bill=A-1&status=2&sign={hashed('sha1', inner.encode())}".encode()
    texts: list[SignedText] = []
    if secret == "key":
        found = inspector.verify(delivery(FORM, body), texts.append)
        assert (found.secret, found.signed, found.ambiguous) == (1, ("bill", "status"), True)
    else:
        assert outcome(inspector, delivery(FORM, body)) is Reason.SIGNATURE_MISMATCH
        with pytest.raises(Refusal):
            inspector.verify(delivery(FORM, body), texts.append)
    assert texts[0].parts == (b"md5_hex(", None, b"A-1", b"2", b")")


def test_a_text_behind_the_hash_of_the_secret() -> None:
    description = described(
        scheme="digest",
        algorithm="sha512",
        signed="{body}{sha256_hex:secret}",
        event_key=(HeaderField("X-Id"),),
    )
    inspector = bound(description, "key")
    found = []
    for body in (b'{"a":1}', b'{"a":2}'):
        mac = hashed("sha512", body, hashed("sha256", b"key").encode())
        verified = outcome(inspector, delivery({"X-Signature": mac}, body))
        assert isinstance(verified, Verification)
        assert verified.signed == ("body",)
        found.append(verified.replay_digest)
    assert len({*found}) == 2


def test_bodies_within_a_hash_of_the_secret_are_told_apart() -> None:
    description = described(
        scheme="digest", signed="{md5_hex:{body}{secret}}", event_key=(HeaderField("X-Id"),)
    )
    digests = set()
    for body in (b'{"a":1}', b'{"a":2}'):
        mac = hashed("sha256", hashed("md5", body, b"key").encode())
        verified = outcome(bound(description, "key"), delivery({"X-Signature": mac}, body))
        assert isinstance(verified, Verification)
        digests.add(verified.replay_digest)
    assert len(digests) == 2
