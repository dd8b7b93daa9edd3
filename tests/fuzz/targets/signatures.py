"""Signatures and what stands around them: only the genuine one passes, in one spelling.

An input is a format, a line break, and the value of a header field. For Vipps the lines are the
three header fields of a message.
"""

import hmac
import json
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from hashlib import sha1, sha256, sha512
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.core.errors import Reason, Refusal
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.providers import EndpointOptions
from relay.providers.builtin import provider_named
from relay.providers.inline.formats import MAX_SIGNATURES, Format
from relay.signatures import Verifier, decode
from relay.signatures.json_web_signature import JsonWebSignature, sign_compact
from relay.signatures.public_key import Ecdsa, Ed25519, Rsa
from relay.signatures.shared_secret import Basic, Digest, Hmac, Token
from relay.signatures.spellings import AS_BASE64, AS_HEX

_VECTORS = Path(__file__).parent.parent.parent / "vectors"
_KEY, _MESSAGE = b"canary-of-the-fuzzers", b"a message"
_SECRETS = (Secret(b"another"), Secret(_KEY))
_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = Secret(b64encode(_PRIVATE.public_key().public_bytes_raw()))
_EC_PRIVATE = derive_private_key(7, SECP256R1())
_EC_PUBLIC = Secret(
    _EC_PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)
_MAC = {name: hmac.new(_KEY, _MESSAGE, name).digest() for name in ("sha1", "sha256", "sha512")}
_PREFIXED = re.compile(r"(?![A-Za-z0-9_-]+,\{)[^{}]*\{signature\}")
_MARKS = re.compile("[,;] ?")
_AT = datetime(2023, 3, 30, 9, tzinfo=UTC)
_VIPPS_FIELDS = ("x-ms-date", "x-ms-content-sha256", "Authorization")


def _vector(name: str, key: str) -> Any:
    found = json.loads((_VECTORS / f"{name}.json").read_text())
    messages = found["messages"] if isinstance(found, dict) else found
    return next(each for each in messages if each["id"] == key)


class _Compact:
    """A JSON Web Signature of the message, in the token or beside it."""

    def __init__(self, *, detached: bool = False) -> None:
        self._keys = JsonWebSignature((Secret(_KEY), _PUBLIC), ("HS256", "EdDSA"))
        self._detached = detached

    def verify(self, message: bytes, signature: str) -> int:
        found = self._keys.verify(signature, message if self._detached else None)
        assert found.payload == message
        return found.key


_VIPPS = _vector("vipps", "vipps-docs-sample")
_SNAP = _vector("midtrans_snap", "dana-sandbox-va")
#: Each with the one text that fits; None where nobody here can sign.
_VERIFIERS: tuple[tuple[Verifier, str | None], ...] = (
    (Hmac("sha256", _SECRETS, "hex"), _MAC["sha256"].hex()),
    (Hmac("sha1", _SECRETS, "hex"), _MAC["sha1"].hex()),
    (Hmac("sha512", _SECRETS, "base64"), b64encode(_MAC["sha512"]).decode()),
    (Digest("sha512", _SECRETS), sha512(_MESSAGE + _KEY).hexdigest()),
    (Digest("sha1", _SECRETS), sha1(_MESSAGE + _KEY).hexdigest()),
    (Token(_SECRETS), _KEY.decode()),
    (Ed25519([_PUBLIC]), b64encode(_PRIVATE.sign(_MESSAGE)).decode()),
    (Ed25519([_PUBLIC], "hex"), _PRIVATE.sign(_MESSAGE).hex()),
    # By RFC 6979: one signature, which is the same in the process that hands out the seeds.
    (
        Ecdsa([_EC_PUBLIC]),
        b64encode(_EC_PRIVATE.sign(_MESSAGE, ECDSA(SHA256(), deterministic_signing=True))).decode(),
    ),
    (Rsa([Secret(_SNAP["public_key"])]), None),
    (Basic((Secret(b"relay:a password"),)), "Basic " + b64encode(b"relay:a password").decode()),
    (_Compact(), sign_compact(Secret(_KEY), _MESSAGE, ("HS256",))),
    (_Compact(detached=True), sign_compact(Secret(_KEY), _MESSAGE, ("HS256",), detached=True)),
)
_INSPECTOR = provider_named("vipps").bind(
    EndpointOptions(secrets=(Secret(_VIPPS["secret"]),), public_url=_VIPPS["url"])
)


def _other_spellings(fits: str) -> tuple[str, ...]:
    """Return texts that careless readers take for the same bytes."""
    spare = {"A": "B", "g": "h", "Q": "R", "w": "x"}
    body = fits.rstrip("=")
    bits = body[:-1] + spare.get(body[-1], body[-1].swapcase()) + fits[len(body) :]
    return fits.upper(), fits + "=", body, f" {fits}", f"{fits[:8]} {fits[8:]}", bits


SEEDS = (
    *(f"{{signature}}\n{fits}".encode() for _, fits in _VERIFIERS if fits),
    *(each.encode() for _, fits in _VERIFIERS if fits for each in _other_spellings(fits)),
    f"sha256={{signature}}\nsha256={_MAC['sha256'].hex()}".encode(),
    f"t={{timestamp}},v1={{signature}}\nt=1, v1={_MAC['sha256'].hex()},v0=a,v1=b".encode(),
    b"signature={signature};time={timestamp}\ntime=1;signature=a;signature=b",
    b"sha256={signature}\nsha1=00",
    b"v1,{signature}\nv1,abc v2,def v1,ghi",
    b"v1={signature}\nv0=abc, v1=def,v1=ghi",
    b"{signature}\n" + _SNAP["signature"].encode(),
    "\n".join(_VIPPS["headers"][name] for name in _VIPPS_FIELDS).encode(),
    f"{{signature}}\n{sha256(_KEY).hexdigest()}".encode(),
)
WORDS = (
    *(b"{signature}", b"{timestamp}", b"t=", b"v1=", b"v1,", b",", b";", b" ", b"=", b"\n"),
    *(b"sha256=", b"HMAC-SHA256 ", b"SignedHeaders=", b"&Signature=", b"x-ms-date;host", b"=="),
    *(b"\xe9", b"\x00", b"\xc2\xb2"),
)


def check(data: bytes) -> None:
    """Read it as a format and a value, as signatures, and as header fields of Vipps."""
    lines = data.decode("latin-1").split("\n")
    _check_format(lines[0], "\n".join(lines[1:]))
    for line in lines:
        _check_spellings(line)
    for verifier, fits in _VERIFIERS:
        for signature in (data.decode("latin-1"), *lines):
            _check_signature(verifier, signature, fits)
    if len(lines) == len(_VIPPS_FIELDS):
        _check_vipps(lines)


def _check_format(text: str, value: str) -> None:
    try:
        form = Format(text)
    except ValueError as error:
        assert str(error)
        return
    written = form.write("0a1b", "1700000000")
    again = form.read(written)
    assert again.signatures == ("0a1b",)
    assert again.timestamp == ("1700000000" if form.holds_time else None)
    try:
        found = form.read(value)
    except Refusal as refusal:
        assert refusal.reason in {Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MISMATCH}
        return
    if _PREFIXED.fullmatch(text):
        # A prefix that is a name may stand in a list.
        entries = {form.write(each, "") for each in found.signatures}
        assert value in entries or entries <= set(_MARKS.split(value))
    assert 1 <= len(found.signatures) <= MAX_SIGNATURES
    assert all(each and each in value for each in found.signatures)
    assert (found.timestamp is not None) is form.holds_time
    assert found.timestamp is None or (found.timestamp and found.timestamp in value)


def _check_signature(verifier: Verifier, signature: str, fits: str | None) -> None:
    try:
        position = verifier.verify(_MESSAGE, signature)
    except Refusal as refusal:
        assert refusal.reason is Reason.SIGNATURE_MISMATCH
        assert signature != fits, "the genuine signature was refused"
        assert _KEY.decode() not in str(refusal)
        return
    if isinstance(verifier, Basic):
        # The name of the scheme has no case, and the padding may be missing.
        assert b64decode(signature.partition(" ")[2] + "==") == b"relay:a password"
        return
    # The first secret of two is that of another, and is a token of its own.
    genuine = (
        fits if position == len(_SECRETS) - 1 or not isinstance(verifier, Token) else "another"
    )
    assert signature == genuine, "another spelling passed"


def _check_spellings(text: str) -> None:
    """Check that every spelling that is taken becomes the one canonical text of its bytes."""
    for spelling, respell in AS_HEX.items():
        try:
            found = decode(AS_BASE64[spelling](text), "base64")
        except Refusal as refusal:
            assert refusal.reason is Reason.SIGNATURE_MISMATCH
            continue
        assert respell(text) == found.hex()


def _check_vipps(values: list[str]) -> None:
    genuine = [_VIPPS["headers"][name] for name in _VIPPS_FIELDS]
    fields = (("Host", "webhook.site"), *zip(_VIPPS_FIELDS, values, strict=True))
    peer = ip_address("192.0.2.1")
    head = RequestHead("POST", "/hook", Headers(fields), peer, _AT)
    body = _VIPPS["body"].encode()
    try:
        _INSPECTOR.verify(Delivery("vipps", head, ClientAddress(peer, Via.PEER), "", body))
    except Refusal as refusal:
        assert values != genuine, f"the genuine message was refused: {refusal}"
        return
    scheme = len("HMAC-SHA256")
    given = [*values[:2], values[2][:scheme].upper() + values[2][scheme:]]
    assert given == genuine, "another spelling passed"
