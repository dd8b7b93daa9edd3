"""Schemes as a running relay takes them: stored and passed on, and refused where they are forged.

No secret, token or password comes out anywhere, and what ties the body reaches the upstream.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.config import provider_of
from relay.config.loader import load_text
from relay.core.clock import SystemClock
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.providers import Sample, SampleOrder
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request

_EC = ec.generate_private_key(ec.SECP384R1())
PRIVATE = _EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = _EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SHARED, PAIR = "canary-shared-0123456789", "relay:canary-pair-0123456789"
FROM_HERE = {"networks": {"live": {"cidrs": ["127.0.0.0/8"]}}}

#: The keys of a signature, what the sender signs with, and what relay is given.
SCHEMES: dict[str, tuple[dict[str, Any], str, str]] = {
    "jwt": (
        {
            "scheme": "jwt",
            "algorithms": ["ES384"],
            "audience": "relay",
            "claims": {"body_sha256": "request_hash"},
        },
        PRIVATE,
        PUBLIC,
    ),
    "jwt-of-nothing": ({"scheme": "jwt", "algorithms": ["HS256"]}, SHARED, SHARED),
    "jws": (
        {
            "scheme": "jwt",
            "algorithms": ["ES384"],
            "from": {"header": "X-JWS-Signature"},
            "format": "{header}..{signature}",
        },
        PRIVATE,
        PUBLIC,
    ),
    "ecdsa": (
        {
            "scheme": "ecdsa",
            "algorithm": "sha512",
            "encoding": "base64url",
            "from": {"headers": ["X-Sig-1", "X-Sig-2"]},
        },
        PRIVATE,
        PUBLIC,
    ),
    "digest": (
        {
            "scheme": "digest",
            "algorithm": "sha384",
            "from": {"header": "X-Sign"},
            "format": "v1={signature}",
            "signed": "{body}{secret}",
        },
        SHARED,
        SHARED,
    ),
    "basic": ({"scheme": "basic"}, PAIR, PAIR),
    "none": ({"scheme": "none"}, "unsigned", ""),
}
#: Those of which nothing may reach the upstream.
TOKENS = ("jwt-of-nothing", "basic")
MODES = ("store", "proxy")


def configuration(upstream: str, directory: Path) -> str:
    endpoints = []
    for name, (signature, _, verifying) in SCHEMES.items():
        for mode in MODES:
            file = directory / f"{name}.secret"
            file.write_text(verifying)
            file.chmod(0o600)
            provider = {"name": name, "signature": signature, "event_key": {"json": ["/id"]}}
            endpoints.append(
                {
                    "name": f"{name}-{mode}",
                    "path": f"/{name}-{mode}",
                    "mode": mode,
                    "upstream": "billing",
                    "secrets": [f"${{file:{name}.secret}}"] if verifying else [],
                    "allowlist": {"mode": "enforce" if name == "none" else "off"},
                    "provider": provider | (FROM_HERE if name == "none" else {}),
                }
            )
    return json.dumps(
        {
            "listen": [{"bind": "127.0.0.1:0"}],
            "admin": {"bind": "127.0.0.1:0"},
            "spool": {"path": "relay.db"},
            "upstreams": {"billing": {"url": upstream}},
            "endpoints": endpoints,
        }
    )


def samples(text: str, directory: Path, url: str) -> dict[str, Sample]:
    settings = load_text(text, "relay.yaml", {}, directory)
    return {
        each.name: provider_of(each).sample(
            SampleOrder(
                url + each.path,
                Secret(SCHEMES[each.name.rpartition("-")[0]][1]),
                SystemClock().now(),
            )
        )
        for each in settings.endpoints
    }


def forged(name: str, sample: Sample) -> list[Sample]:
    """Return what has to be refused: without its proof, and with one that is a little different."""
    if name == "none":
        return []
    (proof,) = [field for field in sample.headers if field[0].lower() != "content-type"]
    kind = ("Content-Type", "application/json")
    wrong = [Headers((kind,))]
    for at in (-12, len(proof[1]) // 2):
        letter = "0" if proof[1][at] != "0" else "1"
        value = proof[1][:at] + letter + proof[1][at:][1:]
        wrong.append(Headers((kind, (proof[0], value))))
    made = [Sample(sample.method, sample.suffix, each, sample.body) for each in wrong]
    if name not in TOKENS:
        made.append(Sample(sample.method, sample.suffix, sample.headers, sample.body + b" "))
    return made


@pytest.mark.timeout(60)
async def test_a_running_relay_takes_what_is_genuine_and_nothing_else(tmp_path: Path) -> None:
    async with Upstream(answer(200)) as upstream:
        config = tmp_path / "relay.yaml"
        text = configuration(f"{upstream.url}/hooks", tmp_path)
        config.write_text(text)
        async with Node(config) as node:
            made = samples(text, tmp_path, node.url)
            for name, sample in made.items():
                reply = await exchange(node.public[0], _bytes(name, sample))
                assert reply.status == 200, (name, reply.body)
            await upstream.has_received(len(made))
            for name, sample in made.items():
                for other in forged(name.rpartition("-")[0], sample):
                    reply = await exchange(node.public[0], _bytes(name, other))
                    assert reply.status == 401, (name, other.headers)
            assert len(upstream.received) == len(made)
            for each in upstream.received:
                (name,) = each.values("Relay-Endpoint")
                sample = made[name]
                proofs = [field for field in sample.headers if field[0] != "Content-Type"]
                passed = [each.values(field) == [value] for field, value in proofs]
                ties = name.rpartition("-")[0] not in (*TOKENS, "none")
                assert passed == [ties] * len(proofs), name
                assert each.values("Relay-Signed") == (["body"] if ties else []), name
            written = b"".join(file.read_bytes() for file in tmp_path.glob("*.db*"))
            said = json.dumps(node.lines) + "".join(node.noise)
    for name in MODES:
        _, bearer = next(f for f in made[f"jwt-of-nothing-{name}"].headers if "Bearer" in f[1])
        _, basic = next(f for f in made[f"basic-{name}"].headers if "Basic" in f[1])
        for canary in (SHARED, PAIR.partition(":")[2], bearer[-40:], basic[-20:]):
            assert canary not in said
            assert canary.encode() not in written
    # The control: what ties the body is stored with its event.
    _, bound = next(f for f in made["jwt-store"].headers if "Bearer" in f[1])
    assert bound[-40:].encode() in written


def _bytes(name: str, sample: Sample) -> bytes:
    return request(sample.method, f"/{name}{sample.suffix}", sample.headers, sample.body)
