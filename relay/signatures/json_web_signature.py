"""Verify JSON Web Signatures in compact form (RFC 7515), with their payload or without it.

A key is a shared secret, a public key in PEM or Base64, or a JSON Web Key (RFC 7517). Each verifies
under the algorithms of its own kind alone (RFC 8725, section 3.1): none without a signature, and
none that would take a public key for a shared secret. No key is taken from a token, and every
critical extension but `b64` (RFC 7797) refuses it.
"""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import unhexlify
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwt import PyJWS
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures import OnSigned, SignedText, decode, ignore_signed
from relay.signatures.private_key import ec_private_key, ed25519_private_key, rsa_private_key
from relay.signatures.public_key import (
    PublicKey,
    UnusableKey,
    checked_public_key,
    parse_public_key,
)
from relay.signatures.spellings import AS_BASE64

#: The algorithms that there are, by the kind of their keys.
SHARED: Final = ("HS256", "HS384", "HS512")
RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
P256: Final = ("ES256",)
P384: Final = ("ES384",)
ED25519: Final = ("EdDSA",)

#: A longer one costs too much before it is known to be a stranger's.
MAX_CHARACTERS: Final = 16 * 1024

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)", re.ASCII)
_ALGORITHMS: Final = MappingProxyType(get_default_algorithms())
_JWS: Final = PyJWS()


@dataclass(frozen=True, slots=True)
class JwsContent:
    """What a verified signature covers, and the position of the key that it fits."""

    key: int
    payload: bytes


class JsonWebSignature:
    """Verifies signatures in compact form with keys of any kind."""

    def __init__(self, keys: Sequence[Secret], algorithms: Collection[str]) -> None:
        """Take keys, and the algorithms that a signature may name.

        Raises:
            UnusableKey: a key is damaged, private or weak, or no algorithm is one of its kind.
        """
        self._keys = tuple(_parsed(position, key, algorithms) for position, key in enumerate(keys))

    def verify(
        self, token: str, detached: bytes | None = None, on_signed: OnSigned = ignore_signed
    ) -> JwsContent:
        """Return the payload, and the position of the first key that fits.

        detached: the payload, where it is not in the token: then it must not be in it.
        on_signed: called with what is signed, once, before it is verified.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not well-formed.
        """
        if len(token) > MAX_CHARACTERS:
            raise Refusal(Reason.SIGNATURE_MISMATCH, f"longer than {MAX_CHARACTERS} characters")
        parts = _COMPACT.fullmatch(token)
        if parts is None or bool(parts[2]) is (detached is not None):
            raise Refusal(Reason.SIGNATURE_MISMATCH, "no compact signature of the wanted kind")
        try:
            header = _JWS.get_unverified_header(token)
        except PyJWTError:
            raise Refusal(Reason.SIGNATURE_MISMATCH, "the header of the token is none") from None
        if detached is None:
            signed = f"{parts[1]}.{parts[2]}".encode("ascii")
            payload = _decoded(parts[2])
        else:
            # RFC 7797: as it is; RFC 7515, appendix F: in base64url.
            plain = header.get("b64", True) is False
            signed = f"{parts[1]}.".encode("ascii") + (detached if plain else _encoded(detached))
            payload = detached
        if on_signed is not ignore_signed:
            on_signed(SignedText((signed,), parts[3]))
        return JwsContent(self._fitting(header.get("alg"), signed, _decoded(parts[3])), payload)

    def _fitting(self, algorithm: object, signed: bytes, signature: bytes) -> int:
        known = False
        for position, key in enumerate(self._keys):
            for name, verifier, prepared in key.verifiers:
                if name != algorithm:
                    continue
                known = True
                if verifier.verify(signed, prepared, signature):
                    return position
        detail = "fits no key" if known else "its algorithm is none that is taken"
        raise Refusal(Reason.SIGNATURE_MISMATCH, detail)


def _decoded(text: str) -> bytes:
    return decode(AS_BASE64["base64url"](text), "base64")


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


# ---- keys -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, prepared for each algorithm of its kind that is taken."""

    verifiers: tuple[tuple[str, Algorithm, Any], ...] = field(repr=False)


def _parsed(position: int, key: Secret, algorithms: Collection[str]) -> _Key:
    try:
        return _prepared(key, algorithms)
    except PyJWTError:
        raise UnusableKey(position, "is a public key in another form; give it in PEM") from None
    except ValueError as error:
        raise UnusableKey(position, str(error)) from None


def _prepared(key: Secret, algorithms: Collection[str]) -> _Key:
    material, kind, fitting = _material(key, algorithms)
    taken = [(name, _ALGORITHMS[name]) for name in fitting if name in algorithms]
    if not taken:
        raise ValueError(f"is {kind}, and algorithms names none for it: {', '.join(fitting)}")
    return _Key(tuple((name, each, each.prepare_key(material)) for name, each in taken))


def _material(key: Secret, algorithms: Collection[str]) -> tuple[Any, str, tuple[str, ...]]:
    """Return the key, what it is, and the algorithms of its kind."""
    given = key.reveal()
    if given.lstrip().startswith(b"{"):
        return _from_jwk(given)
    try:
        return _of_public_key(parse_public_key(key))
    except ValueError:
        # What claims to be in PEM is no shared secret, and what holds a public key neither.
        if b"-----BEGIN" in given or not set(SHARED).intersection(algorithms):
            raise
    if _is_der(given):
        raise ValueError("is the DER of a public key; give it in PEM")
    return given, "a shared secret", SHARED


def _is_der(data: bytes) -> bool:
    """Return whether it is the DER of a public key, however weak, also in Base64 or hexadecimal."""
    return any(map(_is_public_key, _readings(data)))


def _readings(data: bytes) -> Iterator[bytes]:
    yield data
    with suppress(ValueError):
        yield b64decode(data.rstrip(b"=") + b"==", altchars=b"-_")
    with suppress(ValueError):
        yield unhexlify(data.strip())


def _is_public_key(data: bytes) -> bool:
    try:
        load_der_public_key(data)
    except ValueError:
        return False
    except UnsupportedAlgorithm:
        return True
    return True


def _of_public_key(key: PublicKey) -> tuple[Any, str, tuple[str, ...]]:
    if isinstance(key, RSAPublicKey):
        return key, "an RSA key", RSA
    if isinstance(key, EllipticCurvePublicKey):
        on_p256 = isinstance(key.curve, SECP256R1)
        return key, *(("a key on P-256", P256) if on_p256 else ("a key on P-384", P384))
    return key, "an Ed25519 key", ED25519


_FAMILIES: Final = MappingProxyType(
    {"oct": SHARED[0], "RSA": RSA[0], "EC": P256[0], "OKP": ED25519[0]}
)


def _from_jwk(text: bytes) -> tuple[Any, str, tuple[str, ...]]:
    try:
        jwk = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("begins like a JSON Web Key, but is no JSON") from None
    family = _FAMILIES.get(jwk.get("kty")) if isinstance(jwk.get("kty"), str) else None
    if family is None:
        raise ValueError("is no JSON Web Key of the type oct, RSA, EC or OKP")
    if jwk["kty"] != "oct" and "d" in jwk:
        raise ValueError("is a private key; give its public half, without d")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("is a JSON Web Key that is not made for signatures")
    try:
        found = _ALGORITHMS[family].from_jwk(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError("is a JSON Web Key that cannot be read") from None
    if jwk["kty"] == "oct":
        material: tuple[Any, str, tuple[str, ...]] = found, "a shared secret", SHARED
        if not found:
            raise ValueError("is a JSON Web Key of no bytes at all")
    else:
        material = _of_public_key(checked_public_key(found))
    named = jwk.get("alg")
    if named is None:
        return material
    if named not in material[2]:
        raise ValueError("is a JSON Web Key with an alg that does not fit its type")
    return *material[:2], (named,)


# ---- signing --------------------------------------------------------------------------------


def sign_compact(
    key: Secret, payload: bytes, algorithms: Sequence[str], *, detached: bool = False
) -> str:
    """Return a signature that `JsonWebSignature` verifies, under the first algorithm that fits.

    key: a shared secret, or a private key in PEM. detached: leave the payload out (RFC 7515,
        appendix F).

    Raises:
        ValueError: none of these algorithms is for this key, or it is no private key.
    """
    for algorithm in algorithms:
        with_it = [*_signing_keys(key, algorithm)]
        if with_it:
            break
    else:
        raise ValueError(
            f"is no private key for any of {', '.join(algorithms)}; give it with --key"
        )
    head = _encoded(json.dumps({"alg": algorithm, "typ": "JWT"}, separators=(",", ":")).encode())
    signed = head + b"." + _encoded(payload)
    made = _encoded(_ALGORITHMS[algorithm].sign(signed, with_it[0]))
    return b".".join((head, b"" if detached else _encoded(payload), made)).decode("ascii")


def _signing_keys(key: Secret, algorithm: str) -> Iterator[Any]:
    """Yield the key for this algorithm, if it is one for it."""
    given = key.reveal()
    in_pem = b"-----BEGIN" in given
    try:
        if algorithm in SHARED:
            if not in_pem:
                yield _material(key, (algorithm,))[0]
        elif algorithm in RSA:
            yield rsa_private_key(key)
        elif algorithm in ED25519:
            yield ed25519_private_key(key)
        else:
            private = ec_private_key(key)
            if (algorithm in P256) is isinstance(private.curve, SECP256R1):
                yield private
    except ValueError:
        return
