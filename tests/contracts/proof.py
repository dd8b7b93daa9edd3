"""Where a sample carries its proof, by what its provider says; and the same sample without it.

Which headers are needed must not be asked of the code that is tested: one that forgets to look
would be found to need none. `ProviderInfo.signature` says it. Outside braces it names the header or
the field of the body that holds the signature or the token; `{header:NAME}` is a header that is
signed.
"""

import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from relay.core.errors import Refusal
from relay.core.request import Delivery, Headers
from relay.core.secret import Secret
from relay.providers import ProviderInfo
from relay.signatures import SignedText
from relay.signatures.public_key import Ecdsa, Rsa

#: What HTTP itself sends, and what proves nothing.
TRANSPORT = frozenset({"host", "content-type", "user-agent", "accept"})

_BRACES = re.compile(r"\{[^{}]*\}")
_SIGNED_HEADER = re.compile(r"\{header:([^{}]*)\}")
_NAMES = re.compile(r"[\w/-]+", re.ASCII)


@dataclass(frozen=True)
class Proof:
    """Where the proof stands, and what is signed beside it.

    headers, fields: header fields, and fields of the body (as steps), that hold the proof.
    signed: header fields that the signature covers.
    """

    headers: tuple[str, ...]
    fields: tuple[tuple[str, ...], ...]
    signed: tuple[str, ...]


def proof_of(info: ProviderInfo, delivery: Delivery) -> Proof:
    """Return what the facts name. It is a failure when the sample has none of it."""
    words = set(_NAMES.findall(_BRACES.sub(" ", info.signature)))
    lower = {word.lower() for word in words}
    covered = {name.lower() for name in _SIGNED_HEADER.findall(info.signature)}
    names = senders_headers(delivery)
    fields = tuple(
        steps
        for steps in _steps(json.loads(delivery.body))
        if "/" + "/".join(steps) in words or (len(steps) == 1 and steps[0] in words)
    )
    held = tuple(name for name in names if name.lower() in lower)
    assert held or fields, "info.signature has to name the header or the field with the proof"
    missing = covered - TRANSPORT - {name.lower() for name in names}
    assert not missing, f"info.signature says that these are signed; no sample has them: {missing}"
    return Proof(held, fields, tuple(name for name in names if name.lower() in covered))


def senders_headers(delivery: Delivery) -> tuple[str, ...]:
    """Return the names of the sender's own header fields, each of which a sample has once."""
    names = tuple(name for name, _ in delivery.head.headers if name.lower() not in TRANSPORT)
    assert len({name.lower() for name in names}) == len(names)
    return names


def with_headers(delivery: Delivery, *fields: tuple[str, str]) -> Delivery:
    return replace(delivery, head=replace(delivery.head, headers=Headers(fields)))


def without_headers(delivery: Delivery, *names: str) -> Delivery:
    gone = {name.lower() for name in names}
    return with_headers(delivery, *(f for f in delivery.head.headers if f[0].lower() not in gone))


def other_headers(delivery: Delivery, name: str) -> Iterator[Delivery]:
    """Yield the delivery with this header removed, emptied, and doubled in several ways."""
    removed = without_headers(delivery, name)
    rest = tuple(removed.head.headers)
    value = delivery.head.headers.values(name)[0]
    same, empty, other = (name, value), (name, ""), (name.swapcase(), value[1:] + "x")
    yield removed
    yield with_headers(delivery, *rest, empty)
    for pair in ((same, same), (same, empty), (empty, same), (same, other), (other, same)):
        yield with_headers(delivery, *pair, *rest)


def without_fields(delivery: Delivery, *fields: tuple[str, ...]) -> Delivery:
    """Return the delivery without these fields of its body."""
    changed = delivery
    for steps in fields:
        changed = _edited(changed, steps, lambda holder, name: holder.pop(name))
    return changed


def emptied_fields(delivery: Delivery, steps: tuple[str, ...]) -> Iterator[Delivery]:
    """Yield the delivery with this field of its body removed, empty and null."""
    yield without_fields(delivery, steps)
    yield _edited(delivery, steps, lambda holder, name: holder.update({name: ""}))
    yield _edited(delivery, steps, lambda holder, name: holder.update({name: None}))


def doubled_field(delivery: Delivery, steps: tuple[str, ...], value: str) -> Delivery:
    """Return the delivery with this field a second time, behind the first, with this value."""
    second = f"{steps[-1]} again"
    doubled = _edited(delivery, steps, lambda holder, _: holder.update({second: value}))
    name, again = (json.dumps(each).encode() for each in (steps[-1], second))
    assert doubled.body.count(again) == 1
    return replace(doubled, body=doubled.body.replace(again, name))


def _edited(
    delivery: Delivery, steps: tuple[str, ...], edit: Callable[[dict[str, object], str], object]
) -> Delivery:
    body = json.loads(delivery.body)
    holder = body
    for step in steps[:-1]:
        holder = holder[int(step) if isinstance(holder, list) else step]
    edit(holder, steps[-1])
    return replace(delivery, body=json.dumps(body, separators=(",", ":")).encode())


def _steps(value: object, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the way to each field of an object, those of inner objects and lists among them."""
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _steps(inner, (*before, str(position)))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield (*before, name)
            yield from _steps(inner, (*before, name))


def carries(text: SignedText, verifying: Secret) -> bool:
    """Tell whether the text as it is shown carries its signature, by any of the usual kinds."""
    for kind in (Rsa, Ecdsa):
        try:
            return kind((verifying,)).verify(text.joined(), text.signature) == 0
        except ValueError:
            pass  # not a public key of this kind
        except Refusal:
            return False
    return text.signature in {
        written
        for key in _keys(verifying)
        for made in _digests(text, key)
        for written in (made.hex(), b64encode(made).decode(), _base64url(made))
    } | {_base64url(made).rstrip("=") for key in _keys(verifying) for made in _digests(text, key)}


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def _keys(secret: Secret) -> Iterator[bytes]:
    """Yield the bytes that a secret may stand for: itself, or what its Base64 does."""
    yield secret.reveal()
    prefix, _, encoded = secret.reveal().rpartition(b"_")
    if prefix:
        yield b64decode(encoded)


def _digests(text: SignedText, key: bytes) -> Iterator[bytes]:
    for algorithm in ("md5", "sha1", "sha256", "sha384", "sha512"):
        if None in text.parts:
            yield hashlib.new(algorithm, text.joined(key)).digest()
        else:
            yield hmac.digest(key, text.joined(), algorithm)
