"""What is likely wrong where no change makes a delivery fit: the reason, and what came, say it."""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.request import Delivery
from relay.explain.rewritten_body import looks_packed
from relay.signatures import SignedText

#: Bytes of whole digests and signatures: MD5 to SHA-512, Ed25519, ECDSA in JSON Web Signatures, RSA
#: of 2048 to 4096 bits.
_WHOLE: Final = frozenset({16, 20, 28, 32, 48, 64, 96, 256, 384, 512})
_SEQUENCE: Final = 0x30
_TO_STANDARD: Final = str.maketrans("-_", "+/")

_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_FORM: Final = re.compile(rb"[\w.%+-]+=[^&=]*(&[\w.%+-]+=[^&=]*)*")

_DROPS: Final = "something on the way drops it, or the sender is set up to sign nothing"
_COMPARE: Final = "compare what stands under `signed` with what the sender has sent"


def likely_cause(
    refusal: Refusal, delivery: Delivery, signed: Sequence[SignedText], *, by_url: bool
) -> str | None:
    """Return a hint for a refusal that no near miss explains; None where its detail says it all.

    signed: what was verified, if it came as far. by_url: the URL is part of it, and is the one that
        arrived.
    """
    match refusal.reason:
        case Reason.SIGNATURE_MISSING:
            names = ", ".join(dict.fromkeys(name for name, _ in delivery.head.headers))
            return f"{_DROPS}; header fields that are there: {names or 'none'}"
        case Reason.BODY_MALFORMED:
            return _about_body(delivery.body)
        case Reason.SIGNATURE_MISMATCH:
            return next(_about_signature(refusal, delivery, signed, by_url=by_url))
        case _:
            return None


def _about_body(body: bytes) -> str | None:
    if looks_packed(body):
        return "its body is packed with gzip, and no Content-Encoding says so"
    if not body.strip():
        return "its body is lost on the way: nothing is left of it"
    if _FORM.fullmatch(body):
        return "its body is a form, and no JSON: it is rewritten, or the sender is set up otherwise"
    if _is_cut(body):
        return "its body ends in the middle: it is cut off on the way"
    return None


def _is_cut(body: bytes) -> bool:
    """Return whether a body is the beginning of a JSON document."""
    text = body.decode("utf-8", "replace").rstrip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) or error.msg.startswith("Unterminated string")
    except RecursionError:
        return False
    return False


def _about_signature(
    refusal: Refusal, delivery: Delivery, signed: Sequence[SignedText], *, by_url: bool
) -> Iterator[str]:
    for each in dict.fromkeys(text.signature for text in signed):
        if (said := _cut_off(each)) is not None:
            yield said
    if "does not fit the body" in refusal.detail:
        yield (
            "its body is not the one that was signed: something on the way changes it, in a way"
            " that is none of those that were tried"
        )
    if (said := _about_body(delivery.body)) is not None:
        yield said
    url = ""
    if by_url:
        host = ", ".join(delivery.head.headers.values("Host")) or "no Host"
        url = (
            f", or the sender calls another URL than {host} and {delivery.head.path}: write the one"
            " registered there as public_url"
        )
    yield (
        "nothing that was tried makes it fit: its key is none of those here, or what is signed was"
        f" changed on the way ({_COMPARE}){url}"
    )


def _cut_off(signature: str) -> str | None:
    """Return what is wrong with the length of a signature."""
    if _HEX.fullmatch(signature):
        number = len(signature)
        if number % 2 or not _is_whole(bytes.fromhex(signature)):
            return f"its signature is cut off, or no digest: {number} hexadecimal digits"
        return None
    # In either alphabet, and with padding or without.
    text = signature.translate(_TO_STANDARD)
    try:
        found = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return f"its signature is cut off, or no Base64: {len(signature)} characters"
    return (
        None if _is_whole(found) else f"its signature is cut off: it stands for {len(found)} bytes"
    )


def _is_whole(signature: bytes) -> bool:
    """Return whether bytes are as many as a digest or a signature has, or ECDSA's pair in DER."""
    if len(signature) in _WHOLE:
        return True
    return len(signature) > 1 and signature[0] == _SEQUENCE and signature[1] == len(signature) - 2
