"""Messages of every kind of sender, and what can be wrong with them, signed anew where needed."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.harness.wire import request

ALLOWED, STRANGER = "34.101.68.130", "203.0.113.66"
FORWARDED = "X-Forwarded-For"

MIDTRANS_KEY = "SB-Mid-server-TOq1a2AVuiyhhOjvfs3U_KeO"
OTHER_KEY = "a-secret-of-the-recorder"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_PEM = _RSA.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
PUBLIC_PEM = _RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@dataclass(frozen=True)
class Message:
    """One request, as it is sent. The header fields are without Content-Length."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def raw(self) -> bytes:
        return request(self.method, self.target, self.headers, self.body)

    def value(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())

    def having(self, name: str, value: str) -> "Message":
        """Return it with this header field, in place of one of that name."""
        return replace(self, headers=(*self.without(name).headers, (name, value)))

    def without(self, name: str) -> "Message":
        kept = tuple(each for each in self.headers if each[0].lower() != name.lower())
        return replace(self, headers=kept)

    def saying(self, **changes: object) -> "Message":
        """Return it with these fields in its body."""
        return replace(self, body=json.dumps({**json.loads(self.body), **changes}).encode())


@dataclass(frozen=True)
class Sender:
    """How one kind of message is had and signed.

    path: of its endpoint. provider: what `relay send` calls it. words: further ones for that.
    endpoint: the keys of its endpoint, in YAML. sign: signs a message as it is. forge: breaks the
    signature. unsigned: takes it away. time: header with the signed time, and how it is written.
    conflict: gives a second message the key of a first one.
    """

    name: str
    path: str
    provider: str
    words: tuple[str, ...]
    endpoint: str
    sign: Callable[[Message], Message]
    forge: Callable[[Message], Message]
    unsigned: Callable[[Message], Message]
    time: tuple[str, Callable[[datetime], str]] | None = None
    conflict: Callable[[Message, Message], Message] | None = None

    def at(self, prefix: str, message: Message) -> Message:
        """Return a message for the endpoint whose path has this prefix."""
        return self.sign(replace(message, target=f"/{prefix}{message.target}"))


def situations(sender: Sender, first: Message, second: Message) -> Iterator[tuple[str, Message]]:
    """Yield what a relay is sent, in this order. The two messages are genuine and different."""
    yield "accepted", first
    yield "duplicate", first
    if sender.conflict is not None:
        yield "same key, other content", sender.conflict(first, second)
    yield "address not allowed", second.having(FORWARDED, STRANGER)
    yield "no forwarding header", second.without(FORWARDED)
    yield "forwarding header unreadable", second.having(FORWARDED, "unknown")
    yield "not signed", sender.unsigned(second)
    yield "signed otherwise", sender.forge(second)
    for name, body in (("cut off", b"{"), ("a list", b"[]"), ("empty", b""), ("no fields", b"{}")):
        yield f"body: {name}", sender.sign(replace(second, body=body))
    if sender.time is not None:
        header, form = sender.time
        for name, value in (
            ("long ago", form(datetime(2020, 1, 1, tzinfo=UTC))),
            ("unreadable", "yesterday"),
        ):
            yield f"signed time: {name}", sender.sign(second.having(header, value))
    yield "body: encoded", second.having("Content-Encoding", "gzip")
    yield "body: too large", replace(second, body=b" " * 17_000)
    yield "body: announced and not sent", second.having("Content-Length", "9000")
    yield "head: too large", second.having("X-Long", "x" * 9000)
    yield "method", replace(second, method="PUT")
    yield "path", replace(second, target=second.target + "/x")


# ---- signing --------------------------------------------------------------------------------


def _midtrans(message: Message) -> Message:
    try:
        said: Any = json.loads(message.body)
        names = ("order_id", "status_code", "gross_amount")
        covered = "".join(said[name] for name in names) + MIDTRANS_KEY
    except (ValueError, TypeError, KeyError):
        return message
    return message.saying(signature_key=hashlib.sha512(covered.encode()).hexdigest())


def _snap(message: Message) -> Message:
    path = message.target[message.target.index("/v1.0/") :]
    digest = hashlib.sha256(message.body).hexdigest()
    signed = f"{message.method}:{path}:{digest}:{message.value('X-TIMESTAMP')}"
    signature = _RSA.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return message.having("X-SIGNATURE", b64encode(signature).decode())


def _vipps(message: Message) -> Message:
    content = b64encode(hashlib.sha256(message.body).digest()).decode()
    told = f"{message.value('x-ms-date')};{message.value('Host')};{content}"
    signed = f"{message.method}\n{message.target}\n{told}"
    signature = b64encode(hmac.digest(OTHER_KEY.encode(), signed.encode(), "sha256")).decode()
    names = "SignedHeaders=x-ms-date;host;x-ms-content-sha256"
    return message.having("x-ms-content-sha256", content).having(
        "Authorization", f"HMAC-SHA256 {names}&Signature={signature}"
    )


def _inline(message: Message) -> Message:
    signature = hmac.digest(OTHER_KEY.encode(), message.body, "sha256").hex()
    return message.having("X-Hub-Signature-256", f"sha256={signature}")


def _dropping(name: str) -> Callable[[Message], Message]:
    return lambda message: message.without(name)


def _changed(message: Message) -> Message:
    """Return it with another body than the one that is signed."""
    return message.saying(changed=True)


def _snap_sender(name: str, path: str) -> Sender:
    return Sender(
        name=name,
        path="/snap",
        provider="midtrans-snap",
        words=("--key", "private.pem", "--set", f"path={path}"),
        endpoint='provider: midtrans-snap, environment: sandbox, secrets: ["${file:public.pem}"]',
        sign=_snap,
        forge=_changed,
        unsigned=_dropping("X-SIGNATURE"),
        time=("X-TIMESTAMP", lambda at: at.isoformat(timespec="seconds")),
        conflict=lambda first, second: second.having("X-EXTERNAL-ID", first.value("X-EXTERNAL-ID")),
    )


def _callback_sender(name: str, path: str, kind: str, more: str) -> Sender:
    return Sender(
        name=name,
        path=path,
        provider="vipps-callback",
        words=("--secret", OTHER_KEY, "--set", f"callback={kind}"),
        endpoint=f"provider: vipps-callback, environment: test, secrets: [{OTHER_KEY}]{more}",
        sign=lambda message: message,
        forge=lambda message: message.having("Authorization", "another-token"),
        unsigned=_dropping("Authorization"),
    )


SENDERS = (
    Sender(
        name="midtrans",
        path="/midtrans",
        provider="midtrans",
        words=("--secret", MIDTRANS_KEY),
        endpoint=f"provider: midtrans, environment: sandbox, secrets: [{MIDTRANS_KEY}]",
        sign=_midtrans,
        forge=lambda message: message.saying(gross_amount="1.00"),
        unsigned=lambda message: replace(
            message, body=message.body.replace(b"signature_key", b"no_signature")
        ),
        conflict=lambda first, _: first.saying(bank="another"),
    ),
    _snap_sender("snap-debit", "/v1.0/debit/notify"),
    _snap_sender("snap-qris", "/v1.0/qr/qr-mpm-notify"),
    _snap_sender("snap-va", "/v1.0/transfer-va/payment"),
    Sender(
        name="vipps",
        path="/vipps",
        provider="vipps",
        words=("--secret", OTHER_KEY),
        endpoint=f"provider: vipps, environment: test, secrets: [{OTHER_KEY}]",
        sign=_vipps,
        forge=_changed,
        unsigned=_dropping("Authorization"),
        time=("x-ms-date", lambda at: format_datetime(at, usegmt=True)),
    ),
    _callback_sender("vipps-ecom", "/callback", "transaction", ""),
    _callback_sender("vipps-checkout", "/checkout", "checkout", ", callback: checkout"),
    _callback_sender("vipps-express", "/express", "express", ", callback: express"),
    Sender(
        name="inline",
        path="/github",
        provider="github.yaml",
        words=("--secret", OTHER_KEY),
        endpoint=f"""secrets: [{OTHER_KEY}], provider: {{name: github, signature: {{
          scheme: hmac, algorithm: sha256, from: {{header: X-Hub-Signature-256}},
          format: "sha256={{signature}}", encoding: hex, signed: "{{body}}"}}}}""",
        sign=_inline,
        forge=_changed,
        unsigned=_dropping("X-Hub-Signature-256"),
    ),
)
