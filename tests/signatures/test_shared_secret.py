import base64
import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from relay.core.clock import SystemClock
from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.delivery.request import RequestWriter
from relay.signatures import Encoding
from relay.signatures.shared_secret import (
    Algorithm,
    Digest,
    Hmac,
    Signer,
    Token,
)
from tests.harness import optional_tools
from tests.harness.deliveries import EVENT, lease_of

KEY = Secret("webhook-secret")
ALGORITHMS: tuple[Algorithm, ...] = ("sha1", "sha256", "sha512")
ENCODINGS: tuple[Encoding, ...] = ("base64", "hex")


def mac_of(algorithm: str, encoding: Encoding, message: bytes = b"m") -> str:
    mac = hmac.new(KEY.reveal(), message, algorithm).digest()
    return b64encode(mac).decode() if encoding == "base64" else mac.hex()


def mac_refused(verifier: Hmac, message: bytes, signature: str) -> Reason:
    with pytest.raises(Refusal) as caught:
        verifier.verify(message, signature)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_right_mac_fits(algorithm: Algorithm, encoding: Encoding) -> None:
    verifier = Hmac(algorithm, [KEY], encoding)
    assert verifier.verify(b"m", mac_of(algorithm, encoding)) == 0
    assert mac_refused(verifier, b"n", mac_of(algorithm, encoding)) is Reason.SIGNATURE_MISMATCH


def test_rfc_4231_test_case_two() -> None:
    published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    verifier = Hmac("sha256", [Secret("Jefe")], "hex")
    assert verifier.verify(b"what do ya want for nothing?", published) == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_flipped_bit_of_a_mac_is_refused(encoding: Encoding) -> None:
    """Base64 has four spellings of a last digit with unused bits: one of them is right."""
    good, verifier = mac_of("sha256", encoding).encode(), Hmac("sha256", [KEY], encoding)
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            found = mac_refused(verifier, b"m", bad.decode("latin-1"))
            assert found is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_other_spelling_of_a_mac_is_refused(encoding: Encoding) -> None:
    good, verifier = mac_of("sha256", encoding), Hmac("sha256", [KEY], encoding)
    for bad in (
        "",
        good[:-1],
        good + "=",
        good + "\n",
        " " + good,
        good[:4] + "\n" + good[4:],
        good.swapcase(),
        good.replace("+", "-").replace("/", "_") + "!",
        good[:-1] + "\u0130",
        hashlib.sha256(b"m").hexdigest(),
    ):
        assert mac_refused(verifier, b"m", bad) is Reason.SIGNATURE_MISMATCH, bad


def test_the_other_encoding_is_refused() -> None:
    assert mac_refused(Hmac("sha256", [KEY], "hex"), b"m", mac_of("sha256", "base64"))
    assert mac_refused(Hmac("sha256", [KEY], "base64"), b"m", mac_of("sha256", "hex"))


def test_the_first_secret_that_a_mac_fits_is_told() -> None:
    other, signature = Secret("other"), mac_of("sha256", "base64")
    assert Hmac("sha256", [other, KEY], "base64").verify(b"m", signature) == 1
    assert Hmac("sha256", [KEY, other], "base64").verify(b"m", signature) == 0
    assert Hmac("sha256", [other, KEY, KEY], "base64").verify(b"m", signature) == 1


def test_without_secrets_no_mac_fits() -> None:
    verifier = Hmac("sha256", [], "base64")
    assert mac_refused(verifier, b"m", mac_of("sha256", "base64")) is Reason.SIGNATURE_MISMATCH


def test_neither_a_refusal_nor_a_repr_shows_the_secret_of_a_mac() -> None:
    verifier = Hmac("sha256", [KEY], "hex")
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", "0" * 64)
    shown = f"{caught.value} {verifier!r} {vars(verifier)!r}"
    assert "webhook-secret" not in shown
    assert mac_of("sha256", "hex") not in shown


# ---- digest ---------------------------------------------------------------------------------

SERVER_KEY = Secret("server-key")
DIGEST_ALGORITHMS: tuple[Algorithm, ...] = ("sha1", "sha256", "sha512")


def digest_of(algorithm: str, message: bytes, secret: Secret = SERVER_KEY) -> str:
    return hashlib.new(algorithm, message + secret.reveal()).hexdigest()


def digest_refused(verifier: Digest, message: bytes, signature: str) -> Reason:
    with pytest.raises(Refusal) as caught:
        verifier.verify(message, signature)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", DIGEST_ALGORITHMS)
def test_the_right_digest_fits(algorithm: Algorithm) -> None:
    assert Digest(algorithm, [SERVER_KEY]).verify(b"m", digest_of(algorithm, b"m")) == 0


def test_it_is_a_plain_hash_with_the_secret_behind() -> None:
    key = Secret("askvnoibnosifnboseofinbofinfgbiufglnbfg")
    published = (
        "edc076b21793ebe3e17926350f5b8ae67d902fe657b3d0aa31b932d5c127e237"
        "5d308a2bc94f3265ac2d80a1f181a79b997ac178a236fcff35af263fc4d4c231"
    )
    assert Digest("sha512", [key]).verify(b"1111200100000.00", published) == 0


@pytest.mark.parametrize("algorithm", DIGEST_ALGORITHMS)
def test_any_other_spelling_of_a_digest_is_refused(algorithm: Algorithm) -> None:
    good, verifier = digest_of(algorithm, b"m"), Digest(algorithm, [SERVER_KEY])
    for bad in (
        "",
        good.upper(),
        good[:-1],
        good + "0",
        good + "\n",
        " " + good,
        "0x" + good,
        good[:-1] + "g",
        "\uff10" + good[1:],
        good[:-1] + "\ud800",
        "0" * len(good),
    ):
        assert digest_refused(verifier, b"m", bad) is Reason.SIGNATURE_MISMATCH, bad


def test_any_flipped_bit_of_a_digest_is_refused() -> None:
    good, verifier = digest_of("sha512", b"m").encode(), Digest("sha512", [SERVER_KEY])
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            assert (
                digest_refused(verifier, b"m", bad.decode("latin-1")) is Reason.SIGNATURE_MISMATCH
            )


def test_the_digest_of_another_message_is_refused() -> None:
    found = digest_refused(Digest("sha512", [SERVER_KEY]), b"n", digest_of("sha512", b"m"))
    assert found is Reason.SIGNATURE_MISMATCH


def test_the_first_secret_that_a_digest_fits_is_told() -> None:
    other = Secret("other")
    signature = digest_of("sha512", b"m")
    assert Digest("sha512", [other, SERVER_KEY]).verify(b"m", signature) == 1
    assert Digest("sha512", [SERVER_KEY, other]).verify(b"m", signature) == 0
    assert Digest("sha512", [other, SERVER_KEY, SERVER_KEY]).verify(b"m", signature) == 1


def test_without_secrets_no_digest_fits() -> None:
    assert (
        digest_refused(Digest("sha512", []), b"m", digest_of("sha512", b"m"))
        is Reason.SIGNATURE_MISMATCH
    )
    empty = hashlib.sha512(b"m").hexdigest()
    assert digest_refused(Digest("sha512", []), b"m", empty) is Reason.SIGNATURE_MISMATCH


def test_neither_a_refusal_nor_a_repr_shows_the_secret_of_a_digest() -> None:
    verifier = Digest("sha512", [SERVER_KEY])
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", "0" * 128)
    shown = f"{caught.value} {verifier!r} {vars(verifier)!r}"
    assert "server-key" not in shown
    assert digest_of("sha512", b"m") not in shown


# ---- signing --------------------------------------------------------------------------------

_VECTORS = Path(__file__).parent.parent / "vectors"
VECTOR = json.loads((_VECTORS / "standard_webhooks.json").read_text())
PUBLISHED = VECTOR["secret"]
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def sign(*secrets: str, body: bytes | None = None) -> str:
    signer = Signer([Secret(secret) for secret in secrets])
    return signer.sign(VECTOR["id"], VECTOR["timestamp"], body or VECTOR["body"].encode())


def test_the_published_vector_comes_out() -> None:
    assert sign(PUBLISHED) == VECTOR["signature"]


def test_the_prefix_of_a_secret_is_optional() -> None:
    assert sign(PUBLISHED.removeprefix("whsec_")) == VECTOR["signature"]


def test_a_secret_may_lack_its_padding() -> None:
    assert OTHER.endswith("=")
    assert sign(OTHER.rstrip("=")) == sign(OTHER)


def test_every_secret_signs_during_a_rotation() -> None:
    assert sign(OTHER, PUBLISHED) == f"{sign(OTHER)} {VECTOR['signature']}"


def test_the_body_is_signed_byte_for_byte() -> None:
    assert sign(PUBLISHED, body=b"\xff\x00\r\n") != sign(PUBLISHED, body=b"\xff\x00\n")


@pytest.mark.parametrize("size", [24, 64])
def test_keys_of_24_to_64_bytes_are_taken(size: int) -> None:
    assert sign(base64.b64encode(bytes(size)).decode()).startswith("v1,")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA",
        "whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_\N{SNOWMAN}",
    ],
)
def test_a_secret_that_cannot_be_a_key_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret 1") as caught:
        sign(PUBLISHED, secret)
    assert caught.value.__cause__ is None
    assert len(secret) < 7 or secret[6:] not in str(caught.value)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Signer([])


# ---- signing, and another implementation ----------------------------------------------------
# What we sign is verified by the public Standard Webhooks packages of Python and Node.

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
FOREIGN = "whsec_" + "A" * 32
BODY = b'{"order_id": "caf\xc3\xa9", "spaces":  [1, 2]}'


def signed_headers(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    """Return the webhook headers of one attempt."""
    signer = Signer([Secret(each) for each in secrets])
    writer = RequestWriter("http://h", signer)
    sent = writer.write(lease_of(replace(EVENT, body=BODY)), at or SystemClock().now())
    head = sent.partition(b"\r\n\r\n")[0].decode("latin-1")
    fields = [line.partition(": ") for line in head.split("\r\n")]
    return {name: value for name, _, value in fields if name.startswith("webhook-")}


@pytest.mark.parametrize("secrets", [(OLD,), (NEW,), (OLD, NEW), (NEW, OLD)])
@pytest.mark.parametrize("known", [OLD, NEW])
def test_the_python_package_agrees(secrets: tuple[str, ...], known: str) -> None:
    headers = signed_headers(*secrets)
    if known in secrets:
        assert Webhook(known).verify(BODY, headers) == orjson.loads(BODY)
    else:
        with pytest.raises(WebhookVerificationError):
            Webhook(known).verify(BODY, headers)


def test_the_python_package_refuses_what_is_too_old() -> None:
    headers = signed_headers(OLD, at=datetime(2026, 1, 5, tzinfo=UTC))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(OLD).verify(BODY, headers)


_VERIFY = """
const { Webhook } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = given.map(({ secret, headers, body }) => {
  try { new Webhook(secret).verify(body, headers); return true; } catch { return false; }
});
console.log(JSON.stringify(verdicts));
"""


@pytest.mark.npm
def test_the_node_package_agrees(tmp_path: Path) -> None:
    directory = optional_tools.npm_install(tmp_path, "standardwebhooks")
    body = BODY.decode()
    cases = [
        (OLD, signed_headers(OLD), body, True),
        (NEW, signed_headers(OLD, NEW), body, True),
        (OLD, signed_headers(OLD, NEW), body, True),
        (FOREIGN, signed_headers(OLD, NEW), body, False),
        (OLD, signed_headers(OLD), body + " ", False),
        (OLD, signed_headers(OLD, at=datetime(2026, 1, 5, tzinfo=UTC)), body, False),
    ]
    given = [{"secret": key, "headers": sent, "body": text} for key, sent, text, _ in cases]
    verdicts = orjson.loads(
        optional_tools.run_node(directory, _VERIFY, orjson.dumps(given).decode())
    )
    assert verdicts == [expected for *_, expected in cases]


# ---- token ----------------------------------------------------------------------------------

TEXT = "Bearer canary-0123456789"
TOKEN = Secret(TEXT)


def token_refused(verifier: Token, signature: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        verifier.verify(b"m", signature)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    return caught.value


def test_the_whole_token_fits_whatever_the_message_is() -> None:
    for message in (b"", b"m", b"\xff" * 100):
        assert Token([TOKEN]).verify(message, TEXT) == 0


@pytest.mark.parametrize(
    "other",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "canary-0123456789",
        " " + TEXT,
        TEXT + " ",
        TEXT + "\n",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\0",
        TEXT.lower(),
        TEXT.upper(),
        TEXT.replace(" ", "  "),
        TEXT.replace("-", "\u2010"),
        f'"{TEXT}"',
        TEXT + ", " + TEXT,
        "***",
    ],
)
def test_nothing_is_trimmed_folded_or_taken_off(other: str) -> None:
    token_refused(Token([TOKEN]), other)


def test_any_flipped_bit_of_a_token_is_refused() -> None:
    for position in range(len(TEXT)):
        for bit in range(8):
            bad = bytearray(TEXT.encode())
            bad[position] ^= 1 << bit
            token_refused(Token([TOKEN]), bad.decode("latin-1"))


@given(st.text())
def test_no_other_text_is_the_token(other: str) -> None:
    if other != TEXT:
        token_refused(Token([TOKEN, Secret("another")]), other if other != "another" else "")


@given(st.binary(min_size=1))
def test_a_token_of_any_bytes_fits_as_it_arrives(token: bytes) -> None:
    assert Token([Secret(token)]).verify(b"", token.decode("latin-1")) == 0


def test_the_first_secret_that_a_token_is_is_told() -> None:
    other = Secret("other")
    assert Token([other, TOKEN]).verify(b"m", TEXT) == 1
    assert Token([TOKEN, other]).verify(b"m", TEXT) == 0
    assert Token([other, TOKEN, TOKEN]).verify(b"m", TEXT) == 1


def test_without_secrets_no_token_fits() -> None:
    token_refused(Token([]), TEXT)
    token_refused(Token([]), "")


def test_an_empty_secret_lets_nobody_in() -> None:
    token_refused(Token([Secret("")]), "")


def test_neither_a_refusal_nor_a_repr_shows_a_token() -> None:
    verifier = Token([TOKEN])
    shown = f"{token_refused(verifier, 'canary-given')} {verifier!r} {vars(verifier)!r}"
    assert "canary" not in shown
    assert "\\x" not in shown
