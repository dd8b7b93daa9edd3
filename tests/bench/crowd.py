"""A relay with a great many endpoints and upstreams, and the messages that give each a history."""

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Provider, Sample, SampleOrder
from relay.providers.builtin import provider_named
from tests.bench import messages
from tests.bench.node import Node
from tests.bench.processes import free_port
from tests.bench.wires import Wire
from tests.harness.wire import request

ENDPOINTS: Final = 20
UPSTREAMS: Final = 10
LARGE: Final = 100_000

_STRANGER: Final = "203.0.113.9"
_FILLED: Final = re.compile(
    rb"^relay_(?!\w+_bucket)\w+(?:\{[^}]*\})? (?!0(?:\.0)?$)\S+$", re.MULTILINE
)
#: As many keys as one body may have, and a few less.
_KEYS: Final = 1900


@dataclass(frozen=True, slots=True)
class SnapSigner:
    """The key of one SNAP endpoint. public: the file that the configuration names."""

    private: rsa.RSAPrivateKey
    public: Path

    def large(self, number: int) -> bytes:
        """Return a request of 100 kB in many lines, signed over its minified form.

        It is verified at the last of the texts that may have been signed but two.
        """
        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        sample = _sample("midtrans-snap", messages.SNAP_PREFIX, pem.decode())
        fields = dict(sample.headers)
        message = json.loads(sample.body)
        message["originalReferenceNo"] = f"large-{number:012d}"
        message["additionalInfo"]["items"] = {f"item{k:04d}": "x" * 27 for k in range(_KEYS)}
        body = json.dumps(message, indent=2).encode()
        minified = json.dumps(message, separators=(",", ":")).encode()
        digest = sha256(minified).hexdigest()
        signed = f"{sample.method}:{sample.suffix}:{digest}:{fields['X-TIMESTAMP']}"
        signature = self.private.sign(signed.encode(), PKCS1v15(), SHA256())
        fields["X-SIGNATURE"] = b64encode(signature).decode()
        return _sent(sample.method, messages.SNAP_PREFIX + sample.suffix, fields, body)


def snap_signer(directory: Path) -> SnapSigner:
    """Make a key, and the file of its public half."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = directory / "crowd-snap.pem"
    public.write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return SnapSigner(private, public)


def large_midtrans(number: int) -> bytes:
    """Return a notification of 100 kB that is quick to read: nearly all of it is one text."""
    sample = _sample("midtrans", messages.PATH, messages.MIDTRANS_KEY)
    message = json.loads(sample.body)
    message["transaction_id"] = f"large-{number:012d}"
    message["custom_field1"] = "x" * LARGE
    return _midtrans(0, json.dumps(message).encode())


def write_history(port: int) -> None:
    """Let each endpoint accept one, know it again, and refuse what is forged or from elsewhere.

    Raises:
        RuntimeError: one of them was ruled otherwise.
    """
    with Wire(port) as wire:
        for number in range(ENDPOINTS):
            body = _sample("midtrans", messages.PATH, messages.MIDTRANS_KEY).body
            forged = re.sub(rb'"gross_amount": "\d', b'"gross_amount": "7', body)
            wanted = [
                (_midtrans(number, body), range(200, 300)),
                (_midtrans(number, body), range(200, 300)),
                (_midtrans(number, forged), range(400, 500)),
                (_midtrans(number, body, _STRANGER), range(400, 500)),
            ]
            for raw, statuses in wanted:
                answered = wire.ask(raw)
                if answered.status not in statuses:
                    raise RuntimeError(f"endpoint {number} answers {answered}")


def filled_series(exposed: bytes) -> int:
    """Count the series that are no longer zero; of a histogram its sum and its count alone."""
    return len(_FILLED.findall(exposed))


def write_crowd(directory: Path, *, upstream: int, signer: SnapSigner, nameserver: int) -> Node:
    """Write the configuration; every upstream is the one at this port.

    nameserver: the port of the DNS server that is asked about one more endpoint every second.
    """
    home = directory / "crowd"
    home.mkdir()
    node = Node("crowd", home / "relay.yaml", free_port(), free_port())
    upstreams = "\n".join(
        f'  service{number:02d}: {{url: "http://127.0.0.1:{upstream}/{number:02d}"}}'
        for number in range(UPSTREAMS)
    )
    endpoints = "\n".join(_endpoint(number) for number in range(ENDPOINTS))
    node.config.write_text(f"""\
listen: [{{bind: "127.0.0.1:{node.port}"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:{node.admin_port}"}}
spool: {{path: relay.db}}
dns: {{nameservers: ["127.0.0.1:{nameserver}"], min_refresh: 1s, max_refresh: 1s}}
upstreams:
{upstreams}
endpoints:
{endpoints}
  - name: snap
    path: {messages.SNAP_PREFIX}
    provider: midtrans-snap
    environment: production
    secrets: ["${{file:{signer.public}}}"]
    upstream: service00
  - name: named
    path: /named
    provider: midtrans
    environment: production
    secrets: ["{messages.MIDTRANS_KEY}"]
    upstream: service00
    allowlist: {{replace: ["many.example.com"]}}
""")
    return node


def _endpoint(number: int) -> str:
    return f"""\
  - name: shop{number:02d}
    path: {messages.PATH}/{number:02d}
    provider: midtrans
    environment: production
    secrets: ["{messages.MIDTRANS_KEY}"]
    upstream: service{number % UPSTREAMS:02d}"""


def _midtrans(number: int, body: bytes, client: str = messages.MIDTRANS_CLIENT) -> bytes:
    fields = {"Content-Type": "application/json"}
    return _sent("POST", f"{messages.PATH}/{number:02d}", fields, body, client)


def _sent(
    method: str,
    target: str,
    fields: dict[str, str],
    body: bytes,
    client: str = messages.SNAP_CLIENT,
) -> bytes:
    headers = [("Host", messages.HOST), *fields.items(), ("X-Forwarded-For", client)]
    return request(method, target, headers, body)


def _sample(provider: str, path: str, secret: str) -> Sample:
    found: Provider = provider_named(provider)
    # A moment ago: what is made now may be sent a little later.
    at = SystemClock().now() - timedelta(seconds=1)
    return found.sample(SampleOrder(f"http://{messages.HOST}{path}", Secret(secret), at))
