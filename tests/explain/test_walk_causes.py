"""What was broken on the way, or in the configuration, is named: by the walk of a capture, and by
that of the refusal that relay keeps of the same request.
"""

import gzip
import hmac
import io
import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.app import builder
from relay.config import Settings, provider_of
from relay.config.loader import load
from relay.core.clock import SystemClock
from relay.core.errors import Refusal
from relay.core.ids import refusal_ids
from relay.core.request import ClientAddress, Delivery, Headers, RequestHead, Via
from relay.core.secret import Secret
from relay.explain.capture import parse, read_request
from relay.explain.refusal import walk_refusal
from relay.explain.steps import Walk
from relay.explain.walk import walk
from relay.ingest.admission import verify_delivery
from relay.ingest.endpoint_paths import EndpointPaths
from relay.ingest.refusals import RefusalRecorder
from relay.providers import SampleOrder
from relay.spool.refusals import RefusalLimits, RefusalQuery, StoredRefusal
from relay.spool.sqlite import SqliteSpool, open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.explain.test_walk import CONFIGURATION, KEYS, PEER, PROXY, PUBLIC, everything
from tests.harness.deliveries import RECEIVED
from tests.signatures.test_public_key import private_pem, rsa_key

#: A body with all that is written otherwise on the way.
HUB_BODY = '{"a":"é","b":"x&y","c":1}'.encode()
SECRETS = KEYS | {"deep": Secret("deep-canary"), "hub": Secret("hub-canary")}

MORE = """
  - {name: live, path: /live, provider: midtrans, environment: production,
     secrets: [live-canary], upstream: billing}
  - {name: other, path: /other, provider: midtrans, environment: sandbox,
     secrets: [other-canary], upstream: billing}
  - {name: deep, path: /hooks/deep/parcel, provider: vipps, environment: test,
     secrets: [deep-canary], public_url: "https://shop.example/vipps", upstream: billing,
     allowlist: {add: [192.0.2.0/24]}}
  - name: hub
    path: /hub
    upstream: billing
    secrets: [hub-canary]
    allowlist: {mode: report}
    provider:
      name: hub
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature: {scheme: hmac, from: {header: X-Hub}, encoding: base64, signed: "{body}"}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("causes") / "relay.yaml"
    path.write_text(CONFIGURATION + MORE)
    return load(path, {"PUBLIC": PUBLIC})


Change = Callable[[bytes], bytes]


def on_body(change: Change) -> Change:
    """Return a change of the body, with its new length."""

    def changed(raw: bytes) -> bytes:
        head, body = raw.split(b"\r\n\r\n", 1)
        body = change(body)
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
        return head + b"\r\n\r\n" + body

    return changed


def on_json(change: Callable[[dict[str, Any]], object], **how: Any) -> Change:
    return on_body(lambda body: json.dumps(change(json.loads(body)), **how).encode())


def on_field(name: str, change: Callable[[bytes], bytes | None]) -> Change:
    """Return a change of one header line: of what stands behind its name, or None to drop it."""

    def changed(raw: bytes) -> bytes:
        head, body = raw.split(b"\r\n\r\n", 1)
        lines: list[bytes] = []
        for line in head.split(b"\r\n"):
            if not line.lower().startswith(name.lower().encode() + b": "):
                lines.append(line)
            elif (value := change(line.split(b": ", 1)[1])) is not None:
                lines.append(b"%b: %b" % (line.split(b": ", 1)[0], value))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    return changed


def renamed(old: str, new: str) -> Change:
    return lambda raw: raw.replace(f"\r\n{old}:".encode(), f"\r\n{new}:".encode())


def added(field: str) -> Change:
    return lambda raw: raw.replace(b"\r\n", f"\r\n{field}\r\n".encode(), 1)


def all_of(*changes: Change) -> Change:
    def changed(raw: bytes) -> bytes:
        for change in changes:
            raw = change(raw)
        return raw

    return changed


def as_latin(body: bytes) -> bytes:
    return body.replace("é".encode(), "é".encode("latin-1"))


@dataclass(frozen=True)
class Broken:
    """One genuine request of an endpoint that was broken, and what names the cause.

    kept: relay keeps a refusal of it, and that one's walk says the same.
    url: what the sender calls, where that is not what arrives.
    """

    what: str
    endpoint: str
    said: str
    change: Change = bytes
    key: Secret | None = None
    peer: str = PEER
    at: datetime = RECEIVED
    kept: bool = True
    url: str = ""


B = Broken
CAUSES = [
    # ---- keys
    B("wrong key", "shop", "its key is none of those here", key=Secret("nobody-has-it")),
    B(
        "another endpoint's",
        "midtrans",
        "signed for the endpoint other",
        key=Secret("other-canary"),
    ),
    B(
        "another environment's",
        "midtrans",
        "signed for the endpoint live (production)",
        key=Secret("live-canary"),
    ),
    B(
        "wrong RSA key",
        "snap",
        "its key is none of those here",
        key=private_pem(rsa_key(number=1)),
    ),
    # ---- bodies
    B(
        "JSON written anew",
        "vipps",
        "the body without white space between its tokens",
        on_json(lambda each: each),
    ),
    B(
        "fields sorted",
        "hub",
        "its fields sorted",
        on_json(lambda each: dict(reversed(each.items())), separators=(",", ":")),
    ),
    B(
        "trailing newline",
        "shop",
        "without the line ends behind it",
        on_body(lambda body: body + b"\n"),
    ),
    B("another character set", "hub", "read as latin-1 and written as UTF-8", on_body(as_latin)),
    B(
        "twice encoded",
        "hub",
        "read as UTF-8 and written as latin-1",
        on_body(lambda body: body.decode("latin-1").encode()),
    ),
    B(
        "changed amount",
        "midtrans",
        "or what is signed was changed on the way",
        on_json(lambda each: each | {"gross_amount": "1.00"}),
    ),
    B(
        "amount without its cents",
        "midtrans",
        "with its amounts with .00",
        on_json(lambda each: each | {"gross_amount": each["gross_amount"].removesuffix(".00")}),
    ),
    B(
        "changed content",
        "vipps",
        "its body is not the one that was signed",
        on_json(lambda each: each | {"amount": 1}),
    ),
    B("packed", "shop", "unpacked from gzip", on_body(gzip.compress)),
    B(
        "packed, and said so",
        "shop",
        "body_encoded",
        all_of(on_body(gzip.compress), added("Content-Encoding: gzip")),
        kept=False,
    ),
    B(
        "byte order mark",
        "midtrans",
        "without its byte order mark",
        on_body(lambda b: b"\xef\xbb\xbf" + b),
    ),
    B("cut off", "midtrans", "it is cut off on the way", on_body(lambda body: body[:-20])),
    B("lost", "midtrans", "its body is lost on the way", on_body(lambda _: b"")),
    B(
        "made a form",
        "midtrans",
        "its body is a form, and no JSON",
        on_body(lambda _: b"order_id=1&status_code=200"),
    ),
    B(
        "escaped by a filter",
        "hub",
        "with its &amp; and the like",
        on_body(lambda body: body.replace(b"&", b"&amp;")),
    ),
    # ---- the URL
    B(
        "Host rewritten",
        "vipps",
        "with public_url: https://pay.example/vipps",
        all_of(on_field("Host", lambda _: b"inner:8080"), added("X-Forwarded-Host: pay.example")),
    ),
    B(
        "Host rewritten, and nothing names it",
        "vipps",
        "the sender calls another URL than inner:8080 and /vipps",
        on_field("Host", lambda _: b"inner:8080"),
    ),
    B(
        "port added",
        "vipps",
        "with public_url: https://pay.example/vipps",
        on_field("Host", lambda host: host + b":8080"),
    ),
    B(
        "path rewritten",
        "vipps",
        "with public_url: https://pay.example/public/vipps",
        added("X-Original-URI: /public/vipps"),
        kept=False,
        url="https://pay.example/public/vipps",
    ),
    B(
        "query lost",
        "vipps",
        "with public_url: https://pay.example/vipps?shop=1",
        added("X-Original-URI: /vipps?shop=1"),
        kept=False,
        url="https://pay.example/vipps?shop=1",
    ),
    B("wrong public_url", "deep", "it fits without public_url"),
    # ---- paths and methods
    B(
        "double slash",
        "midtrans",
        "a slash is doubled on the way",
        lambda raw: raw.replace(b" /", b" //", 1),
        kept=False,
    ),
    B(
        "prefix added",
        "snap",
        "takes it without /relay",
        lambda raw: raw.replace(b" /", b" /relay/", 1),
        kept=False,
    ),
    B(
        "prefix stripped",
        "deep",
        "takes it behind /hooks/deep, which something on the way strips",
        lambda raw: raw.replace(b" /hooks/deep", b" ", 1),
        kept=False,
    ),
    B(
        "wrong method",
        "midtrans",
        "PUT; there are: POST",
        lambda raw: raw.replace(b"POST", b"PUT", 1),
        kept=False,
    ),
    # ---- header fields
    B("field dropped", "shop", "something on the way drops it", on_field("X-Sig", lambda _: None)),
    B("field renamed", "shop", "X-Sig (it came as X_SIG)", renamed("X-Sig", "X_SIG"), kept=False),
    B(
        "field doubled",
        "shop",
        "number 1 of its 2 fields x-sig alone",
        on_field("X-Sig", lambda value: value + b"\r\nX-Sig: " + value),
    ),
    B(
        "fields joined",
        "shop",
        "number 1 of the 2 values that are joined",
        on_field("X-Sig", lambda value: value + b", " + value),
    ),
    B(
        "signature cut",
        "shop",
        "54 hexadecimal digits",
        on_field("X-Sig", lambda value: value[:-10]),
    ),
    B(
        "in quotes",
        "shop",
        "x-sig in lower case, or without quotes",
        on_field("X-Sig", lambda value: b'"' + value + b'"'),
    ),
    B(
        "Base64 with a line break",
        "hub",
        "without the line breaks in it",
        on_field("X-Hub", lambda value: value + b"%0A"),
    ),
    B(
        "Base64 for URLs",
        "hub",
        "with + and / for - and _",
        on_field("X-Hub", lambda value: value.replace(b"+", b"-").replace(b"/", b"_")),
    ),
    B(
        "Base64 without =",
        "vipps",
        "the = behind it that it has lost",
        on_field("Authorization", lambda value: value.rstrip(b"=")),
    ),
    # ---- times
    B("clock behind", "vipps", "all is right but its time", at=RECEIVED - timedelta(minutes=20)),
    B("old", "snap", "all is right but its time", at=RECEIVED + timedelta(days=3)),
    # ---- addresses
    B(
        "no forwarding header",
        "midtrans",
        f"let {PROXY} add X-Forwarded-For",
        peer=PROXY,
        kept=False,
    ),
    B(
        "another forwarding header",
        "midtrans",
        "write forwarded_header: Forwarded",
        added(f"Forwarded: for={PEER}"),
        peer=PROXY,
        kept=False,
    ),
    B(
        "untrusted proxy",
        "midtrans",
        "sends X-Forwarded-For: if it is your proxy, add it to trusted_proxies",
        added(f"X-Forwarded-For: {PEER}"),
        peer="172.16.0.1",
        kept=False,
    ),
    B(
        "untrusted proxy between",
        "midtrans",
        f"172.16.0.1 forwards for {PEER}, which may send",
        added(f"X-Forwarded-For: {PEER}, 172.16.0.1"),
        peer=PROXY,
        kept=False,
    ),
    B("unknown", "midtrans", "is on no list here", peer="198.51.100.77", kept=False),
    B("internal", "midtrans", "192.168.7.7 is internal", peer="192.168.7.7", kept=False),
    B(
        "IPv4 in IPv6",
        "midtrans",
        f"is {PEER}, spelled as NAT64",
        added("X-Forwarded-For: 64:ff9b::c000:207"),
        peer=PROXY,
        kept=False,
    ),
]


def sent(broken: Broken, settings: Settings) -> bytes:
    """Return the request as its sender sends it."""
    endpoint = next(each for each in settings.endpoints if each.name == broken.endpoint)
    key = broken.key or SECRETS[broken.endpoint]
    if broken.endpoint == "hub":
        mac = b64encode(hmac.digest(key.reveal(), HUB_BODY, "sha256")).decode()
        headers, body, suffix = Headers((("X-Hub", mac),)), HUB_BODY, ""
    else:
        url = broken.url or f"https://pay.example{endpoint.path}"
        sample = provider_of(endpoint).sample(SampleOrder(url, key, RECEIVED, {}))
        headers, body, suffix = sample.headers, sample.body, sample.suffix
    lines = [f"POST {endpoint.path}{suffix} HTTP/1.1", "Host: pay.example"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def sentences(found: Walk) -> str:
    refused = [step.detail for step in found.steps if step.result == "no"]
    return "\n".join([*found.nearest, *refused])


@pytest.mark.parametrize("broken", CAUSES, ids=lambda each: each.what)
def test_the_cause_is_named_and_no_other(broken: Broken, settings: Settings) -> None:
    raw = broken.change(sent(broken, settings))
    found = walk(settings, parse(raw), ip_address(broken.peer), broken.at)
    assert found.reason is not None, everything(found)
    assert broken.said in sentences(found)
    assert len(found.nearest) <= 1, found.nearest
    assert "canary" not in everything(found)


async def test_the_refusals_that_are_kept_say_the_same(settings: Settings, tmp_path: Path) -> None:
    spool = await open_spool(tmp_path / "relay.db", SystemClock())
    missed: dict[str, str] = {}
    try:
        for broken in (each for each in CAUSES if each.kept):
            stored = await kept(broken, settings, spool)
            found = walk_refusal(settings, stored)
            said = sentences(found)
            assert (found.reason, "canary" in said) == (stored.refused.reason, False)
            if broken.said not in said or len(found.nearest) > 1:
                missed[broken.what] = said
    finally:
        await spool.close()
    assert missed == {}


async def kept(broken: Broken, settings: Settings, spool: SqliteSpool) -> StoredRefusal:
    """Return the refusal of a request as relay's own recorder keeps it."""
    raw = broken.change(sent(broken, settings))
    clock, writer = SystemClock(), LogWriter(io.BytesIO())
    parsed = await read_request(raw, max_body=settings.limits.body)
    assert parsed.body is not None
    client = ClientAddress(ip_address(broken.peer), Via.PEER)
    head = RequestHead(parsed.method, parsed.target, parsed.headers, client.address, broken.at)
    registry, limits = builder.known_registry(settings, clock), settings.limits.json_limits
    endpoints = [builder.bind_endpoint(each, registry, limits) for each in settings.endpoints]
    match = EndpointPaths(endpoints).find(head)
    delivery = Delivery(match.endpoint.name, head, client, match.remainder, parsed.body, limits)
    recorder = RefusalRecorder(
        spool.refusals,
        clock=clock,
        telemetry=Telemetry(Log(writer, clock)),
        new_id=refusal_ids(),
        bounds=RefusalLimits(),
    )
    with pytest.raises(Refusal) as refused:
        verify_delivery(match.endpoint, delivery, "")
    recorder.note(match.endpoint, delivery, refused.value)
    await recorder.flush()
    writer.close()
    [listed] = (await spool.refusals.page(RefusalQuery(limit=1))).refusals
    stored = await spool.refusals.get(listed.refused.id)
    assert stored is not None
    assert stored.refused.endpoint == broken.endpoint
    return stored
