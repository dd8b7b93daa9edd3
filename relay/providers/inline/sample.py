"""Build a signed sample message of a described sender."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.core.urls import signed_url
from relay.providers import Sample, SampleOrder
from relay.providers.inline import Description, Field, HeaderField, JsonField, SignatureRule
from relay.providers.inline import signature as signing
from relay.providers.inline.signature import Format, key, time_of
from relay.providers.inline.signed_text import Message, Template
from relay.signatures.public_key import instead, sign_rsa


def sign_ed25519(key: Secret, message: bytes) -> bytes:
    """Sign a message with a private key in PEM.

    Raises:
        ValueError: it is no private Ed25519 key without a passphrase.
    """
    try:
        private = load_pem_private_key(key.reveal(), None)
    except TypeError:
        raise ValueError("the private key has a passphrase; give it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"not a private Ed25519 key in PEM{instead(key)}; give it with --key, and"
            " `openssl genpkey -algorithm ed25519 -out key.pem` makes one"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")  # noqa: TRY004 - a bad value
    return private.sign(message)


def sample(description: Description, order: SampleOrder) -> Sample:
    """Return a message that the description's own inspector accepts.

    changes: fields of the body by their JSON pointers, the first slash left out.

    Raises:
        ValueError: it cannot be signed here, or a change cannot be made.
    """
    rule = description.signature
    time = time_of(rule)
    timestamp = "" if time is None else signing.write_time(order.at, time.unit)
    headers = {"Content-Type": "application/json"}
    body: dict[str, Any] = {"id": str(uuid4()), "type": "sample"}
    template = None if rule.scheme == "token" else Template(rule.signed)
    wanted: list[Field] = [*description.event_key]
    if template is not None:
        wanted += [HeaderField(n) for n in template.headers if n.lower() != "host"]
        wanted += [JsonField("/" + name) for name in template.fields]
    for field in wanted:
        _set(field, uuid4().hex, headers, body)
    if time is not None and time.source is not None:
        _set(time.source, timestamp, headers, body)
    for required in description.must:
        _put(body, required.pointer[1:].split("/"), required.values[0])
    for name, value in order.changes.items():
        _put(body, name.split("/"), value)
    filled: Sequence[bytes | None] = ()
    if template is not None:
        filled = template.fill(_message(description, order, headers, body), timestamp)
    signature = Format(rule.format).write(_signed(rule, order, filled), timestamp)
    _set(rule.source, signature, headers, body)
    return Sample(description.methods[0], "", Headers(tuple(headers.items())), _json(body))


def _message(
    description: Description, order: SampleOrder, headers: dict[str, str], body: dict[str, Any]
) -> Message:
    url = signed_url(order.url)
    peer = ip_address("0.0.0.0")  # noqa: S104 - nothing is bound to it
    fields = (("Host", urlsplit(order.url).netloc), *headers.items())
    head = RequestHead(description.methods[0], url.path_query, Headers(fields), peer, order.at)
    delivery = Delivery("", head, ClientAddress(peer, Via.PEER), "", _json(body))
    return Message(delivery, url)


def _signed(rule: SignatureRule, order: SampleOrder, filled: Sequence[bytes | None]) -> str:
    if rule.scheme == "ed25519":
        return _written(sign_ed25519(order.secret, b"".join(part or b"" for part in filled)), rule)
    if rule.scheme == "rsa":
        signature = sign_rsa(order.secret, b"".join(part or b"" for part in filled))
        return _written(b64decode(signature), rule)
    secret = key(rule, order.secret).reveal()
    if rule.scheme == "token":
        return secret.decode("latin-1")
    text = b"".join(secret if part is None else part for part in filled)
    if rule.scheme == "hmac":
        found = hmac.digest(secret, text, rule.algorithm)
    else:
        found = hashlib.new(rule.algorithm, text).digest()
    return _written(found, rule)


def _written(signature: bytes, rule: SignatureRule) -> str:
    return signature.hex() if rule.encoding == "hex" else b64encode(signature).decode("ascii")


def _set(field: Field, value: str, headers: dict[str, str], body: dict[str, Any]) -> None:
    if isinstance(field, HeaderField):
        headers[field.name] = value
    else:
        _put(body, field.pointer[1:].split("/"), value)


def _put(body: dict[str, Any], steps: list[str], value: str) -> None:
    inner: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        fresh: Any = value if following is None else [] if following == "0" else {}
        if isinstance(inner, list) and step == "0":
            if not inner or following is None:
                inner[:] = [fresh]
            inner = inner[0]
        elif isinstance(inner, dict):
            inner[step] = fresh if following is None else inner.get(step, fresh)
            inner = inner[step]
        else:
            raise ValueError(f"{'/'.join(steps)}: cannot be set")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
