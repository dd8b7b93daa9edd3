"""Verifiers of described signatures, and their keys."""

import hashlib
import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.providers.inline.verifiers import key, text_verifier
from relay.signatures.private_key import sign_rsa
from tests.contracts.provider import new_rsa_keys
from tests.providers.inline.describe import described

SECRETS = (Secret("old"), Secret("new"))

# Secrets as they are written.


def verified(rule: dict[str, Any], signature: str, *secrets: str, text: bytes = b"text") -> int:
    made = text_verifier(described(**rule).signature, [Secret(secret) for secret in secrets])
    filled = (text, None) if rule.get("scheme") == "digest" else (text,)
    return made.verify(filled, signature)


@pytest.mark.parametrize(
    ("encoding", "prefix", "text", "found"),
    [
        ("text", "", " key\t", b" key\t"),
        ("text", "whsec_", "whsec_key", b"key"),
        ("text", "", "whsec_key", b"whsec_key"),
        ("text", "whsec_", "key", b"key"),
        ("hex", "", "00fF", b"\x00\xff"),
        ("base64", "", "AP8=", b"\x00\xff"),
        ("base64", "", "AP8", b"\x00\xff"),
        ("base64", "whsec_", "whsec_AP8=", b"\x00\xff"),
    ],
)
def test_what_a_secret_stands_for(encoding: str, prefix: str, text: str, found: bytes) -> None:
    rule = described(key_encoding=encoding, strip_prefix=prefix).signature
    assert key(rule, Secret(text)).reveal() == found


@pytest.mark.parametrize(
    ("encoding", "text", "said"),
    [
        ("text", " \n", "is empty"),
        ("base64", "===", "stands for no bytes"),
        ("text", "whsec_", "is empty"),
        ("hex", "0", "is not hexadecimal"),
        ("hex", "xy", "is not hexadecimal"),
        ("base64", "a", "is not Base64"),
        ("base64", "AP8-", "is not Base64"),
    ],
)
def test_a_secret_that_is_written_otherwise(encoding: str, text: str, said: str) -> None:
    rule = described(key_encoding=encoding, strip_prefix="whsec_").signature
    with pytest.raises(ValueError, match=rf"^secrets\.1: {said}"):
        text_verifier(rule, (Secret("00ff"), Secret(text)))


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_digest_holds_the_secret_where_the_template_says(encoding: str) -> None:
    digest = hashlib.sha512(b"textkey").digest()
    rule = {"scheme": "digest", "algorithm": "sha512", "encoding": encoding}
    right = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    assert verified(rule, right, "other", "key") == 1
    if encoding == "hex":
        assert verified(rule, right.upper(), "other", "key") == 1
    else:
        assert verified(rule, right.rstrip("="), "other", "key") == 1
    for wrong in (right[1:] + right[0], right[:-3], right + "\n", "", "é"):
        with pytest.raises(Refusal) as caught:
            verified(rule, wrong, "other", "key")
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    ("filled", "taken"),
    [
        ((None, b"text"), True),
        ((None, b"te\0xt"), False),
        ((None, b"te\0xt", b"more"), False),
        ((b"a\0", None, b"text"), True),
        ((None, b"te\0xt", None), True),
        ((b"te\0xt", None), True),
    ],
)
def test_a_digest_that_anybody_could_lengthen_covers_no_nul(
    filled: tuple[bytes | None, ...], *, taken: bool
) -> None:
    rule = described(scheme="digest", algorithm="sha256").signature
    text = b"".join(b"key" if each is None else each for each in filled)
    verifier = text_verifier(rule, (Secret("key"),))
    if taken:
        assert verifier.verify(filled, hashlib.sha256(text).hexdigest()) == 0
    else:
        with pytest.raises(Refusal) as caught:
            verifier.verify(filled, hashlib.sha256(text).hexdigest())
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_hmac(algorithm: str) -> None:
    mac = hmac.digest(b"key", b"text", algorithm)
    assert verified({"algorithm": algorithm}, mac.hex(), "other", "key") == 1
    base64 = {"algorithm": algorithm, "encoding": "base64"}
    assert verified(base64, b64encode(mac).decode(), "key") == 0


def test_other_spellings_of_the_same_bytes_fit() -> None:
    # A text of which the MAC holds what the two alphabets of Base64 write otherwise.
    text = next(
        text
        for text in (f"{at}".encode() for at in range(9999))
        if b"+" in (mac := b64encode(hmac.digest(b"key", text, "sha256"))) and b"/" in mac
    )
    mac = hmac.digest(b"key", text, "sha256")
    plain, url = b64encode(mac).decode(), urlsafe_b64encode(mac).decode()
    for encoding, spellings in {
        "hex": [mac.hex(), mac.hex().upper(), mac.hex().title()],
        "base64": [plain, plain.rstrip("=")],
        "base64url": [url, url.rstrip("=")],
    }.items():
        for signature in spellings:
            assert verified({"encoding": encoding}, signature, "key", text=text) == 0
    for encoding, others in {
        "hex": [plain, mac.hex()[1:]],
        "base64": [url, plain + "=", mac.hex()],
        "base64url": [plain, plain.rstrip("="), url + "="],
    }.items():
        for signature in others:
            with pytest.raises(Refusal) as caught:
                verified({"encoding": encoding}, signature, "key", text=text)
            assert caught.value.reason is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_rsa_with_another_hash(algorithm: Any) -> None:
    pair = new_rsa_keys()
    public = pair.verifying.reveal().decode()
    signature = sign_rsa(pair.signing, b"text", algorithm)
    rule = {"scheme": "rsa", "encoding": "base64"}
    assert verified(rule | {"algorithm": algorithm}, signature, public) == 0
    with pytest.raises(Refusal):
        verified(rule, signature, public)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_rsa(encoding: str) -> None:
    pair, other = new_rsa_keys(), new_rsa_keys()
    keys = other.verifying.reveal().decode(), pair.verifying.reveal().decode()
    signature = sign_rsa(pair.signing, b"text")
    if encoding == "hex":
        signature = b64decode(signature).hex()
    rule = {"scheme": "rsa", "encoding": encoding}
    assert verified(rule, signature, *keys) == 1
    with pytest.raises(Refusal):
        verified(rule, signature[1:] + signature[0], *keys)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("key_encoding", ["hex", "base64", "text"])
def test_ed25519(encoding: str, key_encoding: str) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    given = public.hex() if key_encoding == "hex" else "whpk_" + b64encode(public).decode()
    signature = private.sign(b"text")
    shown = signature.hex() if encoding == "hex" else b64encode(signature).decode()
    rule = {
        "scheme": "ed25519",
        "encoding": encoding,
        "key_encoding": key_encoding,
        "strip_prefix": "whpk_",
    }
    assert verified(rule, shown, given) == 0
    with pytest.raises(Refusal):
        verified(rule, shown, given, text=b"texts")


@pytest.mark.parametrize("scheme", ["rsa", "ed25519"])
def test_a_key_that_is_none_is_named_by_its_position(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"^secrets\.0: line 1: "):
        text_verifier(described(scheme=scheme).signature, (Secret("!"),))


def test_a_token() -> None:
    assert verified({"scheme": "token"}, "two", "one", "two") == 1
    with pytest.raises(Refusal):
        verified({"scheme": "token"}, "three", "one", "two")


def test_basic() -> None:
    rule = {"scheme": "basic"}
    credentials = b64encode(b"relay:two:words").decode()
    for name in ("Basic", "basic", "BASIC"):
        assert verified(rule, f"{name} {credentials}", "relay:one", "relay:two:words") == 1
    padded = b64encode(b"relay:twos").decode()
    assert verified(rule, f"Basic {padded.rstrip('=')}", "relay:twos") == 0
    for wrong in (
        credentials,
        f"Bearer {credentials}",
        f"Basic  {credentials}",
        f"Basic {credentials} ",
        f"Basic {credentials[:-4]}",
        f"Basic {credentials}{credentials}",
        "Basic relay:two:words",
        "Basic ",
        "Basic",
    ):
        with pytest.raises(Refusal) as caught:
            verified(rule, wrong, "relay:one", "relay:two:words")
        assert caught.value.reason is Reason.SIGNATURE_MISMATCH


def test_a_pair_without_a_colon_is_none() -> None:
    with pytest.raises(ValueError, match=r"^secrets\.1: has no colon"):
        text_verifier(described(scheme="basic").signature, (Secret("a:b"), Secret("ab")))


def test_nothing_is_compared_with_the_scheme_none() -> None:
    with pytest.raises(ValueError, match=r"^secrets\.0: .*leave secrets out"):
        text_verifier(described(scheme="none").signature, SECRETS)
