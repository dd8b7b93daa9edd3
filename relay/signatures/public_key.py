r"""Verify signatures with a public key: RSA (RFC 8017), ECDSA (FIPS 186-5), Ed25519 (RFC 8032).

Accepted forms of a key: PEM, PEM in which a line break became `\n` or a blank on its way through
an environment variable, or the Base64 of the DER alone; each with or without the byte order mark
of UTF-8 that some editors write.
"""

import re
from base64 import b64decode
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Sequence
from statistics import mode
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures import Encoding, decode

MIN_BITS: Final = 2048
#: OpenSSL verifies nothing with a longer modulus.
MAX_BITS: Final = 16384

PADDING: Final = PKCS1v15()
#: The hashes that a signature with a public key may be taken with.
PublicKeyHash = Literal["sha256", "sha384", "sha512"]
HASHES: Final = MappingProxyType[PublicKeyHash, HashAlgorithm](
    {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}
)

K = TypeVar("K")

_LABELS = ("PUBLIC KEY", "RSA PUBLIC KEY")
#: What to do about another thing in PEM, by the end of its label.
_INSTEAD = {
    "CERTIFICATE": "; openssl x509 -noout -pubkey -in FILE prints the one in it",
    "PRIVATE KEY": "; openssl pkey -pubout -in FILE prints its public half",
}
#: Other ways of writing a key, by how they begin.
_NO_PEM = {
    "ssh-": "a key of OpenSSH; ssh-keygen -e -m PKCS8 -f FILE prints it in PEM",
    "ecdsa-": "a key of OpenSSH; ssh-keygen -e -m PKCS8 -f FILE prints it in PEM",
    "{": "JSON",
    "http": "a URL; give the key that lies there",
}
BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
# A line without the blanks around it.
_LINE = re.compile(r"\S(?:.*\S)?")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=\s]")
_ED25519_BYTES = 32
# Of two lines it is unknown which one is too short.
_MIN_LINES = 3

# The points of order 1, 2, 4 and 8 of edwards25519, as their y in 32 bytes without the sign of x;
# the last two are 0 and 1 written as p and p + 1. For such a key anyone can find a signature of
# any message in a few tries, without a secret (Chalkias, Garillot and Nikolaenko, Taming the Many
# EdDSAs, 2020); OpenSSL takes every one of them.
_SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


class UnusableKey(ValueError):
    """A key that cannot be used; the message names the fault and never holds the key.

    position: of the key among those given, counted from 0.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


class Rsa:
    """Verifies RSA signatures: PKCS#1 v1.5, in standard Base64 with padding."""

    def __init__(self, keys: Sequence[Secret], algorithm: PublicKeyHash = "sha256") -> None:
        """Parse public keys of 2048 to 16384 bits.

        Raises:
            UnusableKey: one of them is no such key.
        """
        parsed = _parse_all(keys, _rsa_key)
        self._keys = tuple((key, (key.key_size + 7) // 8) for key in parsed)
        self._hash = HASHES[algorithm]

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the first key under which `signature` fits `message`.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, is not the one canonical Base64 of its
                bytes, or is not as long as the modulus.
        """
        given = decode(signature, "base64")
        for position, (key, size) in enumerate(self._keys):
            if len(given) != size:
                continue
            try:
                key.verify(given, message, PADDING, self._hash)
            except InvalidSignature:
                continue
            return position
        raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no key")


class Ecdsa:
    """Verifies ECDSA signatures in DER (RFC 3279), in standard Base64 with padding.

    Each has a second one that fits as well, which anyone can compute: the same message may come
    under both.
    """

    def __init__(self, keys: Sequence[Secret], algorithm: PublicKeyHash = "sha256") -> None:
        """Parse public keys on P-256 or P-384.

        Raises:
            UnusableKey: one of them is no such key.
        """
        self._keys = _parse_all(keys, _ecdsa_key)
        self._algorithm = ECDSA(HASHES[algorithm])

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the first key under which `signature` fits `message`.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not the one canonical Base64 of
                the one DER of its two numbers.
        """
        given = decode(signature, "base64")
        if not _is_pair(given):
            raise Refusal(Reason.SIGNATURE_MISMATCH, "not the DER of two numbers")
        for position, key in enumerate(self._keys):
            try:
                key.verify(given, message, self._algorithm)
            except InvalidSignature:
                continue
            return position
        raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no key")


def _is_pair(der: bytes) -> bool:
    try:
        return encode_dss_signature(*decode_dss_signature(der)) == der
    except ValueError:
        return False


class Ed25519:
    """Verifies Ed25519 signatures, in standard Base64 or in lower-case hexadecimal digits."""

    def __init__(self, keys: Sequence[Secret], encoding: Encoding = "base64") -> None:
        """Parse public keys; the Base64 of the 32 bytes themselves is accepted too.

        Raises:
            UnusableKey: one of them is no such key, or is of small order: anyone can sign for it.
        """
        self._keys = _parse_all(keys, _ed25519_key)
        self._encoding: Encoding = encoding

    def verify(self, message: bytes, signature: str) -> int:
        """Return the position, from 0, of the first key under which `signature` fits `message`.

        Raises:
            Refusal: SIGNATURE_MISMATCH when it fits none, or is not the one canonical spelling
                of its bytes.
        """
        given = decode(signature, self._encoding)
        for position, key in enumerate(self._keys):
            try:
                key.verify(given, message)
            except InvalidSignature:
                continue
            return position
        raise Refusal(Reason.SIGNATURE_MISMATCH, "fits no key")


#: A key that `parse_public_key` returns.
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


def parse_public_key(key: Secret) -> PublicKey:
    """Parse a public key of any of these kinds.

    Raises:
        ValueError: it is none, or one that is not safe to use.
    """
    text = ascii_text(key)
    return checked_public_key(_load(_der(text), text))


def checked_public_key(key: object) -> PublicKey:
    """Return a key that is safe to use.

    Raises:
        ValueError: it is of another kind, too short, on another curve, or of small order.
    """
    if isinstance(key, RSAPublicKey):
        check_strength(key)
        return key
    if isinstance(key, EllipticCurvePublicKey):
        check_curve(key)
        return key
    if isinstance(key, Ed25519PublicKey):
        _check_order(key)
        return key
    raise ValueError("is no public key of RSA, of P-256 or P-384, or of Ed25519")


# ---- keys -----------------------------------------------------------------------------------


def _parse_all(keys: Sequence[Secret], read: Callable[[Secret], K]) -> tuple[K, ...]:
    found = []
    for position, key in enumerate(keys):
        try:
            found.append(read(key))
        except ValueError as error:
            raise UnusableKey(position, str(error)) from None
    return tuple(found)


def _rsa_key(key: Secret) -> RSAPublicKey:
    text = ascii_text(key)
    found = _load(_der(text), text)
    if not isinstance(found, RSAPublicKey):
        raise ValueError("is a public key, but not an RSA key")  # noqa: TRY004 - a bad value
    check_strength(found)
    return found


def _ecdsa_key(key: Secret) -> EllipticCurvePublicKey:
    text = ascii_text(key)
    found = _load(_der(text), text)
    if not isinstance(found, EllipticCurvePublicKey):
        raise ValueError("is a public key, but not an EC key")  # noqa: TRY004 - a bad value
    check_curve(found)
    return found


def check_curve(key: EllipticCurvePublicKey) -> None:
    """Check that a key is on P-256 or P-384.

    Raises:
        ValueError.
    """
    if not isinstance(key.curve, SECP256R1 | SECP384R1):
        raise ValueError(f"is a key on {key.curve.name}; P-256 and P-384 are taken")  # noqa: TRY004


def _ed25519_key(key: Secret) -> Ed25519PublicKey:
    text = ascii_text(key)
    der = _der(text)
    if len(der) == _ED25519_BYTES:
        found: PublicKeyTypes = Ed25519PublicKey.from_public_bytes(der)
    else:
        found = _load(der, text)
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError("is a public key, but not an Ed25519 key")  # noqa: TRY004 - a bad value
    _check_order(found)
    return found


def _check_order(key: Ed25519PublicKey) -> None:
    if _without_sign(key.public_bytes_raw()) in _SMALL_ORDER:
        raise ValueError("is an Ed25519 key of small order, for which anybody can sign")


def _without_sign(point: bytes) -> bytes:
    return bytes([*point[:-1], point[-1] & 0x7F])


def check_strength(key: RSAPublicKey) -> None:
    """Check that a key is of 2048 to 16384 bits, and of an odd modulus.

    Raises:
        ValueError.
    """
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise ValueError(
            f"is an RSA key of {key.key_size} bits; {MIN_BITS} to {MAX_BITS} are taken"
        )
    if key.public_numbers().n % 2 == 0:
        raise ValueError("is no RSA key: its modulus is even")


def _load(der: bytes, text: str) -> PublicKeyTypes:
    try:
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        _check_lines(text)
        # Among them exponents that are even or below 3.
        raise ValueError(
            "holds no public key; it may be damaged, or its RSA exponent is even, below 3 or too"
            " large"
        ) from None


def ascii_text(key: Secret) -> str:
    """Return the text of a key in PEM or Base64.

    Raises:
        ValueError: it is no such text; the message says what it is instead.
    """
    given = key.reveal().removeprefix(BOM_UTF8)
    if given.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ValueError("is text in UTF-16; save it as UTF-8 or ASCII")
    try:
        text = given.decode("ascii")
    except UnicodeDecodeError as error:
        line = given.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not text; give the key in PEM or Base64") from None
    text = text.replace("\\r", "").replace("\\n", "\n")
    if not text.strip():
        raise ValueError("is empty; give the public key")
    return text


def _der(text: str) -> bytes:
    """Decode the DER from PEM, or from the bare Base64 of it."""
    start, stop = 0, len(text)
    if "-----" in text:
        start, stop = _pem_body(text)
    for beginning, what in _NO_PEM.items():
        if text.lstrip().startswith(beginning):
            raise ValueError(f"is no PEM but {what}")
    wrong = _NOT_BASE64.search(text, start, stop)
    if wrong is not None:
        raise ValueError(f"line {_line_number(text, wrong.start())}: neither PEM nor Base64")
    try:
        return b64decode("".join(text[start:stop].split()), validate=True)
    except ValueError:
        _check_lines(text)
        raise ValueError(
            f"line {_line_number(text, start)}: the Base64 that begins here is damaged or cut off"
        ) from None


def _pem_body(text: str) -> tuple[int, int]:
    """Return the bounds of the Base64 between the two markers of a PEM text."""
    begin = BEGIN.search(text)
    if begin is None:
        raise ValueError("has no line -----BEGIN PUBLIC KEY-----")
    label, line = begin[1], _line_number(text, begin.start())
    if label not in _LABELS:
        hint = next((hint for kind, hint in _INSTEAD.items() if label.endswith(kind)), "")
        raise ValueError(f"line {line}: a {label}, where a PUBLIC KEY is needed{hint}")
    stop = text.find(f"-----END {label}-----", begin.end())
    if stop < 0:
        raise ValueError(f"line {line}: this {label} has no -----END {label}-----")
    if (second := BEGIN.search(text, begin.end())) is not None:
        raise ValueError(
            f"line {_line_number(text, second.start())}: a second key; give each by itself"
        )
    return begin.end(), stop


def _check_lines(text: str) -> None:
    """Raise ValueError for a line that is not as long as its neighbours, the last one aside.

    A valid key may have such lines: call this only for a key that cannot be decoded.
    """
    start, stop = _pem_body(text) if "-----" in text else (0, len(text))
    lines = [(found.start(), len(found[0])) for found in _LINE.finditer(text, start, stop)]
    if len(lines) < _MIN_LINES:
        return
    usual = mode(length for _, length in lines)
    for at, length in lines[:-1]:
        if length != usual:
            raise ValueError(
                f"line {_line_number(text, at)}: not as long as the lines around it;"
                " the key is damaged or cut off there"
            )


def _line_number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
