"""A signed message of every kind, in both modes, through `relay run`, to upstreams of all sorts."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.cli.demo.services import Pair, asymmetric, shared
from relay.config.inline_provider import InlineProvider as InlineSection
from relay.config.yaml_document import parse
from relay.core.clock import SystemClock
from relay.core.secret import Secret
from relay.providers import Provider, Sample, SampleOrder
from relay.providers.builtin import provider_named
from relay.providers.inline.provider import InlineProvider
from tests.harness.node import Node
from tests.harness.upstream import Behaviour, Upstream, answer, close, hang, reset, send
from tests.harness.wire import Reply, exchange, request
from tests.system.canaries import found

CLIENT = "203.0.113.7"
ADMIN = "admin-of-the-tests-2f6b81"
BEARER = [("Authorization", f"Bearer {ADMIN}")]
JSON = [("Content-Type", "application/json")]


@dataclass(frozen=True)
class Kind:
    """One kind of message.

    service: of SNAP, which answers in its own JSON. always_proxied: whatever the mode is.
    """

    provider: str
    environment: str
    changes: Mapping[str, str] = field(default_factory=dict)
    callback: str = ""
    service: str = ""
    always_proxied: bool = False


def canary(name: str) -> Pair:
    """Return a token that JSON, a form and a URL each spell otherwise."""
    signing, forged = (f'canary/{name}/{which} "7"+ü' for which in ("right", "wrong"))
    return Pair(Secret(signing), signing, Secret(forged))


def basic() -> Pair:
    signing, forged = (f"relay:canary-basic-{which}-5d1c:é" for which in ("right", "wrong"))
    return Pair(Secret(signing), signing, Secret(forged))


def ed25519() -> Pair:
    private, other = (Ed25519PrivateKey.generate() for _ in range(2))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing, forged = (Secret(key.private_bytes(*form)) for key in (private, other))
    return Pair(signing, public.decode(), forged)


KINDS = {
    "midtrans": Kind("midtrans", "sandbox"),
    "snap-debit": Kind("midtrans-snap", "sandbox", {"path": "/v1.0/debit/notify"}, service="56"),
    "snap-qris": Kind("midtrans-snap", "sandbox", {"path": "/v1.0/qr/qr-mpm-notify"}, service="52"),
    "snap-va": Kind(
        "midtrans-snap", "sandbox", {"path": "/v1.0/transfer-va/payment"}, service="25"
    ),
    "vipps": Kind("vipps", "test"),
    "transaction": Kind("vipps-callback", "test"),
    "consent": Kind("vipps-callback", "test", {"callback": "consent"}),
    "checkout": Kind("vipps-callback", "test", {"callback": "checkout"}, callback="checkout"),
    "express": Kind(
        "vipps-callback", "test", {"callback": "express"}, callback="express", always_proxied=True
    ),
    "shipping": Kind(
        "vipps-callback", "test", {"callback": "shippingDetails"}, always_proxied=True
    ),
    "hmac": Kind("hmac", "live"),
    "digest": Kind("digest", "live"),
    "rsa": Kind("rsa", "live"),
    "ed25519": Kind("ed25519", "live"),
    "token": Kind("token", "live"),
    "token-json": Kind("token-json", "live"),
    "token-each": Kind("token-each", "live"),
    "token-form": Kind("token-form", "live"),
    "token-query": Kind("token-query", "live"),
    "basic": Kind("basic", "live"),
    "jwt": Kind("jwt", "live"),
}
KEYS: dict[str, Pair] = {
    "midtrans": shared(),
    "midtrans-snap": asymmetric(),
    "vipps": shared(),
    "vipps-callback": shared(),
    "hmac": shared(),
    "digest": shared(),
    "rsa": asymmetric(),
    "ed25519": ed25519(),
    "token": shared(),
    "token-json": canary("json"),
    "token-each": canary("each"),
    "token-form": canary("form"),
    "token-query": canary("query"),
    "basic": basic(),
    "jwt": shared(),
}
ENVIRON = {f"SECRET_{name.replace('-', '_')}": pair.verifying for name, pair in KEYS.items()}

#: One sender for each scheme that a configuration can describe.
DESCRIBED = {
    "hmac": '{scheme: hmac, from: {header: X-Signature}, format: "sha256={signature}"}',
    "digest": '{scheme: digest, from: {json: /sig}, signed: "{json:/id}.{secret}"}',
    "rsa": "{scheme: rsa, from: {header: X-Signature}, encoding: base64}",
    "ed25519": "{scheme: ed25519, from: {header: X-Signature}}",
    "token": '{scheme: token, from: {header: X-Token}, format: "Bearer {signature}"}',
    "token-json": "{scheme: token, from: {json: /auth/token}}",
    "token-each": '{scheme: token, from: {json: "/value/*/clientState"}}',
    "token-form": "{scheme: token, from: {form: token}}",
    "token-query": "{scheme: token, from: {query: token}}",
    "basic": "{scheme: basic}",
    "jwt": "{scheme: jwt, algorithms: [HS256]}",
}

#: What `Relay-Redacted` says, and what the body is masked by.
MASKED = {
    "token-json": "/auth/token",
    "token-each": "/value/*/clientState",
    "token-form": "token",
}


def arriving(name: str, sample: Sample) -> tuple[bytes, str]:
    """Return the body that an upstream gets of a message, and what is appended to its URL."""
    kind = KINDS[name].provider
    if kind == "token-query":
        return sample.body, ""
    if kind == "token-form":
        return re.sub(rb"\btoken=[^&]*", b"token=***", sample.body), sample.suffix
    if kind not in MASKED:
        return sample.body, sample.suffix
    said = orjson.loads(sample.body)
    if kind == "token-json":
        said["auth"]["token"] = "***"
    else:
        said["value"][0]["clientState"] = "***"
    return orjson.dumps(said), sample.suffix


def described(scheme: str) -> str:
    networks = f"{{live: {{cidrs: [{CLIENT}]}}}}"
    return f"{{name: example, networks: {networks}, signature: {DESCRIBED[scheme]}}}"


def endpoint(name: str, kind: Kind, mode: str) -> str:
    callback = f"\n    callback: {kind.callback}" if kind.callback else ""
    provider = described(kind.provider) if kind.provider in DESCRIBED else kind.provider
    query = "\n    query: drop" if kind.provider == "token-query" else ""
    return f"""
  - name: {mode}-{name}
    path: /{mode}/{name}
    provider: {provider}
    environment: {kind.environment}
    secrets: ["${{env:SECRET_{kind.provider.replace("-", "_")}}}"]
    upstream: {mode}
    mode: {mode}
    allowlist: {{replace: [{CLIENT}]}}{callback}{query}"""


@dataclass
class Stage:
    """A running relay with two upstreams: `stored` receives events, `asked` is proxied to."""

    node: Node
    stored: Upstream
    asked: Upstream

    async def post(self, name: str, mode: str) -> tuple[Reply, Sample]:
        """Send a fresh message of this kind to the endpoint of this mode."""
        sample = message(KINDS[name], f"{self.node.url}/{mode}/{name}")
        return await self.send(name, mode, sample), sample

    async def send(self, name: str, mode: str, sample: Sample) -> Reply:
        """Send this message to the endpoint of this kind and mode."""
        host = "{}:{}".format(*self.node.public[0])
        headers = [("Host", host), *sample.headers, ("X-Forwarded-For", CLIENT)]
        target = f"/{mode}/{name}{sample.suffix}"
        raw = request(sample.method, target, headers, sample.body)
        return await exchange(self.node.public[0], raw)


def message(kind: Kind, url: str) -> Sample:
    order = SampleOrder(url, KEYS[kind.provider].signing, SystemClock().now(), kind.changes)
    return provider_of(kind.provider).sample(order)


def provider_of(name: str) -> Provider:
    if name in DESCRIBED:
        block = InlineSection.model_validate(parse(described(name)).data)
        return InlineProvider(block.description())
    found: Provider = provider_named(name)
    return found


@pytest.fixture
def program() -> str:
    """What is run instead of relay; empty for relay itself."""
    return ""


@pytest.fixture
async def stage(tmp_path: Path, program: str) -> AsyncIterator[Stage]:
    async with Upstream() as stored, Upstream() as asked:
        endpoints = "".join(
            endpoint(name, kind, mode)
            for mode in ("store", "proxy")
            for name, kind in KINDS.items()
        )
        config = tmp_path / "relay.yaml"
        config.write_text(
            f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:ADMIN}}"}}
upstreams:
  store: {{url: "{stored.url}/hooks", retry: {{schedule: [50ms]}}}}
  proxy: {{url: "{asked.url}/hooks", timeout: 500ms}}
endpoints:{endpoints}
"""
        )
        environ = {**ENVIRON, "ADMIN": ADMIN}
        async with Node(config, environ, program=program) as node:
            yield Stage(node, stored, asked)


def snap_code(reply: Reply) -> str:
    """Return the responseCode of an answer that is SNAP's from head to foot."""
    assert reply.value("Content-Type") == "application/json"
    assert (reply.value("X-TIMESTAMP") or "").endswith("+07:00")
    code: str = orjson.loads(reply.body)["responseCode"]
    assert code[:3] == str(reply.status)
    return code


async def test_stored_messages_are_acknowledged_and_arrive_byte_for_byte(stage: Stage) -> None:
    sent = {}
    for name, kind in KINDS.items():
        if not kind.always_proxied:
            reply, sent[name] = await stage.post(name, "store")
            assert reply.status == 200, name
            if kind.service:
                assert snap_code(reply) == f"200{kind.service}00"
            else:
                assert reply.body == b"OK"
    await stage.stored.has_received(len(sent))
    arrived = {each.values("Relay-Endpoint")[0]: each for each in stage.stored.received}
    for name, sample in sent.items():
        got, (body, suffix) = arrived[f"store-{name}"], arriving(name, sample)
        assert (got.method, got.body) == (sample.method, body)
        assert got.target == f"/hooks{suffix}"
        redacted = MASKED.get(name)
        assert got.values("Relay-Redacted") == ([] if redacted is None else [redacted])
    assert stage.asked.received == []


#: Kinds that prove their sender by a token or a credential.
PROVEN_BY_TOKEN = (
    *("transaction", "checkout", "shipping", "express", "token", "token-json", "token-each"),
    *("token-form", "token-query", "basic", "jwt"),
)


def written(path: Path) -> bytes:
    """Return what a file holds, without the zeros that only take up space."""
    return re.sub(rb"\0{16,}", b"\0", path.read_bytes())


async def tokens_seen(stage: Stage, directory: Path) -> list[str]:
    """Send one of each of these kinds in each mode; return where a token stands afterwards."""
    tokens = []
    for name in PROVEN_BY_TOKEN:
        pair = KEYS[KINDS[name].provider]
        tokens += [(name, pair.verifying), (f"wrong {name}", pair.forged.reveal().decode())]
        for mode in ("store", "proxy"):
            reply, sample = await stage.post(name, mode)
            assert reply.status == 200, name
            if name == "jwt":
                token = (sample.headers.single("authorization") or "").partition(" ")[2]
                tokens.append((f"{mode} jwt", token))
            order = SampleOrder("http://h/", pair.forged, SystemClock().now(), KINDS[name].changes)
            forged = provider_of(KINDS[name].provider).sample(order)
            reply = await stage.send(name, mode, forged)
            assert reply.status == 401, name
    await stage.stored.has_received(len(PROVEN_BY_TOKEN))
    await stage.asked.has_received(len(PROVEN_BY_TOKEN))
    metrics = await exchange(stage.node.admin, request("GET", "/metrics"))
    events = await exchange(stage.node.admin, request("GET", "/api/v1/events", BEARER))
    listed = [each["id"] for each in orjson.loads(events.body)["events"]]
    shown = [
        (each, (await exchange(stage.node.admin, request("GET", f"/api/v1/events/{each}", BEARER))))
        for each in listed
    ]
    assert await stage.node.end() == 0
    places = [
        *(
            (f"what {each.target} got", each.head + each.body)
            for each in (*stage.stored.received, *stage.asked.received)
        ),
        *((path.name, written(path)) for path in directory.iterdir() if path.is_file()),
        ("the log", orjson.dumps(stage.node.lines)),
        ("metrics", metrics.body),
        ("events", events.body),
        *((f"event {each}", reply.body) for each, reply in shown),
    ]
    assert any(b"checkout" in content for place, content in places if place == "the log")
    return found(tokens, places)


async def test_a_token_is_not_forwarded_stored_logged_or_counted(
    stage: Stage, tmp_path: Path
) -> None:
    assert await tokens_seen(stage, tmp_path) == []


#: Runs relay as it is, but for the masking of tokens.
UNMASKED = """
from relay.providers.inline.token_masks import TokenMask
TokenMask.masked = lambda self, message: (message, None, ())
from relay.cli import main
main()
"""


@pytest.mark.proof
@pytest.mark.parametrize("program", [UNMASKED])
async def test_the_search_finds_tokens_that_are_not_masked(stage: Stage, tmp_path: Path) -> None:
    seen = " ".join(await tokens_seen(stage, tmp_path))
    for name in MASKED:
        assert f"{name} in what /hooks got" in seen
        assert f"{name} in relay.db" in seen
        assert f"{name} in event " in seen


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.always_proxied])
async def test_what_needs_the_upstreams_answer_gets_it_in_either_mode(
    name: str, stage: Stage
) -> None:
    stage.stored.behave(answer(200, JSON, b'{"groups":[]}'))
    reply, _ = await stage.post(name, "store")
    assert (reply.status, reply.body) == (200, b'{"groups":[]}')


@pytest.mark.parametrize(
    ("behaviour", "status", "body"),
    [
        (answer(200, JSON, b'{"a": 1}'), 200, b'{"a": 1}'),
        (answer(404, JSON, b'{"no": 1}'), 404, b'{"no": 1}'),
        (answer(401, JSON, b'{"no": 2}'), 401, b'{"no": 2}'),
    ],
    ids=["answers", "knows nothing of it", "refuses"],
)
async def test_a_proxied_sender_sees_what_the_upstream_says(
    behaviour: Behaviour, status: int, body: bytes, stage: Stage
) -> None:
    stage.asked.behave(behaviour)
    for name in KINDS:
        reply, sample = await stage.post(name, "proxy")
        assert (reply.status, reply.body) == (status, body), name
        assert reply.value("Content-Type") == "application/json"
        assert stage.asked.received[-1].body == arriving(name, sample)[0]
    assert stage.stored.received == []


@pytest.mark.parametrize(
    ("behaviour", "status", "body"),
    [
        (answer(200, [("Content-Type", "text/plain")], b"OK"), 200, b"OK"),
        (answer(401), 401, b""),
        (answer(404, [("Content-Type", "text/html")], b"<p>unknown</p>"), 404, b"<p>unknown</p>"),
    ],
    ids=["takes it in words", "refuses without a word", "refuses in words"],
)
async def test_snap_hears_no_words_but_its_own(
    behaviour: Behaviour, status: int, body: bytes, stage: Stage
) -> None:
    stage.asked.behave(behaviour)
    for name, kind in KINDS.items():
        reply, _ = await stage.post(name, "proxy")
        if kind.service:
            assert snap_code(reply) == f"{status}{kind.service}00"
        else:
            assert (reply.status, reply.body) == (status, body), name


async def test_an_empty_success_becomes_snaps_own(stage: Stage) -> None:
    stage.asked.behave(answer(204))
    for name, kind in KINDS.items():
        reply, _ = await stage.post(name, "proxy")
        if kind.service:
            assert snap_code(reply) == f"200{kind.service}00"
        else:
            assert (reply.status, reply.body) == (204, b""), name


@pytest.mark.parametrize(
    ("behaviour", "late"),
    [
        (answer(302, [("Location", "/elsewhere")], b"secret"), False),
        (answer(500, JSON, b"secret"), False),
        (hang, True),
        (reset, False),
        (close, False),
        (send(b"secret garbage\r\n\r\n", close), False),
        (answer(200, JSON, b"secret" * 20_000), False),
    ],
    ids=["redirects", "fails", "hangs", "resets", "closes", "talks garbage", "never ends"],
)
async def test_a_proxied_sender_is_asked_to_come_again(
    behaviour: Behaviour, late: bool, stage: Stage
) -> None:
    stage.asked.behave(behaviour)
    # All at once: some upstreams make each of them wait.
    found = await asyncio.gather(*(stage.post(name, "proxy") for name in KINDS))
    for (name, kind), (reply, _) in zip(KINDS.items(), found, strict=True):
        if kind.service:
            assert snap_code(reply) == f"{504 if late else 500}{kind.service}00"
        else:
            assert (reply.status, reply.body) == (502, b""), name
        assert b"secret" not in reply.body
