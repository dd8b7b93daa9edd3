"""JSON Web Signatures in compact form."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures import SignedText
from relay.signatures.json_web_signature import JsonWebSignature, sign_compact
from relay.signatures.public_key import UnusableKey
from tests.contracts.provider import flipped_bytes, flipped_text

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256_KEY = ec.derive_private_key(7, ec.SECP256R1())
P384_KEY = ec.derive_private_key(7, ec.SECP384R1())
ED_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SHARED = Secret("0123456789abcdef" * 4)
PRIVATE = {"R": RSA_KEY, "P": RSA_KEY, "ES256": P256_KEY, "ES384": P384_KEY, "EdDSA": ED_KEY}
ALGORITHMS = [
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "EdDSA"),
]
ALL = tuple(ALGORITHMS)


def private(algorithm: str) -> Any:
    return PRIVATE.get(algorithm) or PRIVATE[algorithm[0]]


def signing(algorithm: str) -> Secret:
    if algorithm.startswith("HS"):
        return SHARED
    key = private(algorithm)
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public(key: Any, encoding: Encoding = Encoding.PEM) -> bytes:
    return bytes(key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


def verifying(algorithm: str) -> Secret:
    return SHARED if algorithm.startswith("HS") else Secret(public(private(algorithm)))


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def written(header: dict[str, Any], payload: bytes = b"{}", key: bytes = b"") -> str:
    """Return a token with any header, under HS256 with the shared secret."""
    head = base64url(json.dumps(header).encode())
    signed = f"{head}.{base64url(payload)}".encode()
    mac = HMACAlgorithm(HMACAlgorithm.SHA256).sign(signed, key or SHARED.reveal())
    return f"{signed.decode()}.{base64url(mac)}"


def refused(found: JsonWebSignature, token: str, detached: bytes | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        found.verify(token, detached)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    return caught.value.detail


# ---- what is taken --------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_verifies_what_the_library_signs(algorithm: str) -> None:
    key = SHARED.reveal() if algorithm.startswith("HS") else private(algorithm)
    token = jwt.encode({"sub": "a"}, key, algorithm)
    found = JsonWebSignature((verifying(algorithm),), ALL).verify(token)
    assert (found.key, found.payload) == (0, b'{"sub":"a"}')
    with_it = JsonWebSignature((verifying(algorithm),), (algorithm,))
    assert with_it.verify(token).key == 0
    # Under any other algorithm of the kind, and any key of another kind, nothing fits.
    for other in ALGORITHMS:
        if other != algorithm:
            refused(JsonWebSignature((verifying(other),), (other,)), token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_signed_here_is_taken_by_the_library(algorithm: str) -> None:
    token = sign_compact(signing(algorithm), b'{"sub":"a"}', (algorithm,))
    key = SHARED.reveal() if algorithm.startswith("HS") else private(algorithm).public_key()
    assert jwt.decode(token, key, [algorithm]) == {"sub": "a"}


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_a_detached_signature_covers_the_payload_that_is_given(algorithm: str) -> None:
    found = JsonWebSignature((verifying(algorithm),), (algorithm,))
    token = sign_compact(signing(algorithm), b"the body", (algorithm,), detached=True)
    assert ".." in token
    assert found.verify(token, b"the body").payload == b"the body"
    for body in (b"the bodY", b"", b"the body."):
        refused(found, token, body)
    # The same bytes in the token itself say something else: its payload is no body.
    head, _, signature = token.split(".")
    refused(found, f"{head}.{base64url(b'the body')}.{signature}", b"the body")
    refused(found, token)


def test_a_payload_that_is_not_encoded() -> None:
    jws = jwt.PyJWS()
    token = jws.encode(b"a.b", SHARED.reveal(), "HS256", is_payload_detached=True)
    found = JsonWebSignature((SHARED,), ("HS256",))
    assert found.verify(token, b"a.b").payload == b"a.b"
    refused(found, token, b"a.c")
    refused(found, token)


def test_the_first_key_that_fits_is_told() -> None:
    other = Secret("another-secret-of-some-length-000")
    keys = (Secret(public(RSA_KEY)), other, Secret(public(P256_KEY)), SHARED)
    found = JsonWebSignature(keys, ("HS256", "RS256", "ES256"))
    for position, key, algorithm in (
        (0, signing("RS256"), "RS256"),
        (1, other, "HS256"),
        (2, signing("ES256"), "ES256"),
        (3, SHARED, "HS256"),
    ):
        assert found.verify(sign_compact(key, b"{}", (algorithm,))).key == position


def test_what_is_signed_is_told_once() -> None:
    texts: list[SignedText] = []
    token = sign_compact(SHARED, b"{}", ("HS256",))
    JsonWebSignature((SHARED, SHARED), ("HS256",)).verify(token, on_signed=texts.append)
    head, payload, signature = token.split(".")
    assert texts == [SignedText((f"{head}.{payload}".encode(),), signature)]


# ---- attacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "EdDSA"])
def test_any_flipped_bit_refuses(algorithm: str) -> None:
    found = JsonWebSignature((verifying(algorithm),), ALL)
    token = sign_compact(signing(algorithm), b'{"sub":"a"}', (algorithm,))
    for changed in flipped_text(token):
        refused(found, changed)
    head, payload, signature = token.split(".")
    for given in flipped_bytes(urlsafe_b64decode(signature + "==")):
        refused(found, f"{head}.{payload}.{base64url(given)}")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 5, ["HS256"], "HS1"])
def test_no_signature_and_no_known_algorithm(name: object) -> None:
    found = JsonWebSignature((SHARED,), ALL)
    refused(found, written({"alg": name}))
    head = base64url(json.dumps({"alg": name}).encode())
    for signature in ("", ".", ".AA", "." + base64url(b"x" * 32)):
        refused(found, f"{head}.e30{signature}")


@pytest.mark.parametrize("key", [RSA_KEY, P256_KEY, ED_KEY])
def test_a_public_key_is_never_a_shared_secret(key: Any) -> None:
    pem, der = public(key), public(key, Encoding.DER)
    texts = (
        (pem, pem.strip(), der, b64encode(der), key.public_key().public_bytes_raw())
        if (key is ED_KEY)
        else (pem, pem.strip(), der, b64encode(der))
    )
    found = JsonWebSignature((Secret(pem),), ALL)
    for text in texts:
        refused(found, written({"alg": "HS256"}, key=text))
    for text in (pem, b64encode(der), der):
        with pytest.raises(UnusableKey) as caught:
            JsonWebSignature((Secret(text),), ("HS256", "HS384"))
        assert caught.value.position == 0


def _spelled(der: bytes) -> tuple[bytes, ...]:
    plain = b64encode(der)
    return plain, plain.rstrip(b"="), encodebytes(der), urlsafe_b64encode(der), der.hex().encode()


@pytest.mark.parametrize("name", ["a weak one", "on a curve that is not taken", "a good one"])
def test_a_public_key_that_is_not_taken_is_no_shared_secret_either(name: str) -> None:
    keys = {"a weak one": SMALL, "on a curve that is not taken": CURVE_521, "a good one": RSA_KEY}
    for text in _spelled(public(keys[name], Encoding.DER)):
        for algorithms in (("HS256",), ("HS256", "RS256", "ES256")):
            if name != "a good one" or algorithms == ("HS256",):
                with pytest.raises(UnusableKey):
                    JsonWebSignature((Secret(text),), algorithms)


def test_no_key_is_taken_from_the_token() -> None:
    jwk = json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
    found = JsonWebSignature((Secret(public(P256_KEY)),), ALL)
    extras: tuple[dict[str, Any], ...] = (
        {"jwk": jwk},
        {"jku": "https://attacker.example/keys"},
        {"x5c": [b64encode(public(RSA_KEY, Encoding.DER)).decode()]},
        {"kid": "../../dev/null"},
    )
    for header in extras:
        refused(found, jwt.encode({}, RSA_KEY, "RS256", headers=header))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": "b64"},
        {"crit": ["b64"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"kid": 5},
    ],
)
def test_what_must_be_understood_and_is_not_refuses(header: dict[str, Any]) -> None:
    found = JsonWebSignature((SHARED,), ("HS256",))
    assert found.verify(written({"alg": "HS256"})).payload == b"{}"
    refused(found, written({"alg": "HS256"} | header))


def test_an_unencoded_payload_that_is_not_declared_refuses() -> None:
    head = base64url(b'{"alg":"HS256","b64":false}')
    mac = HMACAlgorithm(HMACAlgorithm.SHA256).sign(f"{head}.body".encode(), SHARED.reveal())
    found = JsonWebSignature((SHARED,), ("HS256",))
    refused(found, f"{head}..{base64url(mac)}")


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token + "=",
        lambda token: token + ".",
        lambda token: token + ".AA",
        lambda token: "." + token,
        lambda token: token.replace(".", "..", 1),
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: "é" + token,
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: "AAAA." + token.partition(".")[2],
        lambda token: base64url(b"[]") + "." + token.partition(".")[2],
        lambda token: base64url(b"[" * 9000) + "." + token.partition(".")[2],
        lambda token: base64url(b"\xff") + "." + token.partition(".")[2],
        lambda token: base64url(b'{"alg":"HS256"}{}') + "." + token.partition(".")[2],
        lambda _: "",
        lambda _: "..",
        lambda _: "e30.e30.e30",
        lambda _: base64url(b"{}") + ".e30." + base64url(b"x" * 32),
    ],
)
def test_what_is_no_compact_signature(change: Any) -> None:
    found = JsonWebSignature((SHARED,), ("HS256",))
    token = sign_compact(SHARED, b"{}", ("HS256",))
    assert found.verify(token).key == 0
    refused(found, change(token))


def test_a_token_is_of_bounded_length() -> None:
    found, most = JsonWebSignature((SHARED,), ("HS256",)), 16 * 1024
    payload = b" " * 12000
    taken = sign_compact(SHARED, payload, ("HS256",))
    assert len(taken) <= most
    assert found.verify(taken).payload == payload
    token = sign_compact(SHARED, payload + b" " * 400, ("HS256",))
    assert "longer than 16384 characters" in refused(found, token)


# ---- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "jwk"),
    [
        ("HS256", HMACAlgorithm.to_jwk(SHARED.reveal(), as_dict=True)),
        ("RS256", RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)),
        ("ES256", ECAlgorithm.to_jwk(P256_KEY.public_key(), as_dict=True)),
        ("ES384", ECAlgorithm.to_jwk(P384_KEY.public_key(), as_dict=True)),
        ("EdDSA", OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True)),
    ],
)
def test_a_json_web_key(algorithm: str, jwk: Any) -> None:
    token = sign_compact(signing(algorithm), b"{}", (algorithm,))
    fitting: tuple[dict[str, Any], ...] = ({}, {"alg": algorithm}, {"use": "sig", "kid": "1"})
    for more in fitting:
        given = Secret(json.dumps(dict(jwk) | more))
        assert JsonWebSignature((given,), ALL).verify(token).key == 0
    for other, said in (
        ({"use": "enc"}, "not made for signatures"),
        ({"alg": "RS1"}, "alg that does not fit"),
        ({"kty": "XYZ"}, "no JSON Web Key of the type"),
        ({"kty": 5}, "no JSON Web Key of the type"),
    ):
        with pytest.raises(UnusableKey, match=said):
            JsonWebSignature((Secret(json.dumps(dict(jwk) | dict(other))),), ALL)


def test_the_algorithm_of_a_json_web_key_is_the_only_one() -> None:
    jwk = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    found = JsonWebSignature((Secret(json.dumps(dict(jwk) | {"alg": "RS512"})),), ALL)
    assert found.verify(sign_compact(signing("RS512"), b"{}", ("RS512",))).key == 0
    for other in ("RS256", "PS512"):
        refused(found, sign_compact(signing(other), b"{}", (other,)))


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
CURVE_521 = ec.derive_private_key(7, ec.SECP521R1())


@pytest.mark.parametrize(
    ("key", "algorithms", "said"),
    [
        (public(RSA_KEY), ("ES256",), "is an RSA key, and algorithms names none for it: RS256"),
        (public(P256_KEY), ("ES384",), "is a key on P-256, and algorithms names none"),
        (public(P384_KEY), ("ES256",), "is a key on P-384, and algorithms names none"),
        (public(ED_KEY), ("RS256", "ES256"), "is an Ed25519 key, and algorithms names none"),
        (public(SMALL), ("RS256",), "1024 bits"),
        (public(CURVE_521), ("ES256",), "secp521r1"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA", ("HS256",), "has no -----END"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", ("HS256",), "a CERTIF"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", ("HS256",), "a PRIV"),
        (b"ssh-rsa AAAA", ("HS256",), "in another form"),
        (b"{", ("HS256",), "is no JSON"),
        (b'{"kty": "RSA"}', ("RS256",), "cannot be read"),
        (b'{"kty": "RSA", "n": "AQ", "e": 5}', ("RS256",), "cannot be read"),
        (b'{"kty": "oct", "k": ""}', ("HS256",), "cannot be read|no bytes at all"),
        (RSAAlgorithm.to_jwk(RSA_KEY).encode(), ("RS256",), "is a private key"),
        (RSAAlgorithm.to_jwk(SMALL.public_key()).encode(), ("RS256",), "1024 bits"),
        (ECAlgorithm.to_jwk(CURVE_521.public_key()).encode(), ("ES256",), "secp521r1"),
        (b'{"kty":"OKP","crv":"Ed25519","x":"%s"}' % (b"A" * 43), ("EdDSA",), "small order"),
        (b'{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}', ("ES256",), "cannot be read"),
    ],
)
def test_what_is_no_key(key: bytes, algorithms: tuple[str, ...], said: str) -> None:
    with pytest.raises(UnusableKey, match=said) as caught:
        JsonWebSignature((SHARED, Secret(key)), (*algorithms, "HS512"))
    assert caught.value.position == 1


def test_a_shared_secret_is_none_where_only_public_keys_are_taken() -> None:
    with pytest.raises(UnusableKey, match="damaged or cut off"):
        JsonWebSignature((Secret("a shared secret"),), ("RS256", "EdDSA"))


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (SHARED, ("RS256", "EdDSA")),
        (verifying("RS256"), ("HS256", "RS256")),
        (signing("RS256"), ("HS256", "ES256", "EdDSA")),
        (signing("ES256"), ("ES384",)),
    ],
)
def test_what_cannot_sign(key: Secret, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is no private key for any of"):
        sign_compact(key, b"{}", algorithms)


def test_no_secret_is_shown() -> None:
    found = JsonWebSignature((SHARED,), ("HS256",))
    assert "0123456789abcdef" not in repr(found) + repr(vars(found))
