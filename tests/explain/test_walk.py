"""Every built-in sender, and one that is described, is walked to its end with its true verdict."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

import pytest

from relay.config.endpoints import provider_name, provider_of
from relay.config.loader import load
from relay.config.settings import Settings
from relay.core.errors import Reason, Refusal
from relay.core.request import Address
from relay.core.secret import Secret
from relay.edge.framing import MAX_CHUNKS, MAX_FIELDS, MAX_HEAD, MAX_LINE
from relay.explain.capture import Captured, parse
from relay.explain.steps import Walk
from relay.explain.walk import walk, walk_unreadable
from relay.providers import SampleOrder
from tests.edge.smuggling import chunk, forms
from tests.harness.deliveries import RECEIVED
from tests.harness.edge import genuine, genuine_request, running_edge
from tests.harness.wire import read_reply, request
from tests.signatures.test_public_key import pem, private_pem, rsa_key

PEER, PROXY = "192.0.2.7", "10.0.0.1"
PUBLIC, PRIVATE = pem(rsa_key()), private_pem(rsa_key())

CONFIGURATION = """
listen: [{bind: "127.0.0.1:0"}]
trusted_proxies: ["10.0.0.0/8"]
admin: {bind: "127.0.0.1:0", token: admin-canary}
upstreams: {billing: {url: "http://127.0.0.1:1/"}}
endpoints:
  - {name: midtrans, path: /midtrans, provider: midtrans, environment: sandbox,
     secrets: [midtrans-canary], upstream: billing, allowlist: {add: [192.0.2.0/24]}}
  - {name: snap, path: /snap, provider: midtrans-snap, environment: sandbox,
     secrets: ["${env:PUBLIC}"], upstream: billing, allowlist: {add: [192.0.2.0/24]}}
  - {name: vipps, path: /vipps, provider: vipps, environment: test,
     secrets: [vipps-canary], upstream: billing, allowlist: {add: [192.0.2.0/24]}}
  - {name: callback, path: /callback, provider: vipps-callback, environment: test,
     secrets: [callback-canary], upstream: billing, allowlist: {add: [192.0.2.0/24]}}
  - name: shop
    path: /shop
    upstream: billing
    secrets: [shop-canary]
    allowlist: {mode: report}
    provider:
      name: shop
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature:
        {scheme: digest, from: {header: X-Sig}, signed: "{body}.{secret}.{header:X-Id}"}
      event_key: {header: X-Id}
  - name: tokens
    path: /tokens
    upstream: billing
    secrets: [tokens-canary]
    provider:
      name: tokens
      networks: {live: {cidrs: ["192.0.2.0/24"]}}
      signature: {scheme: token, from: {header: X-Secret-Token}}
"""

KEYS = {
    "midtrans": Secret("midtrans-canary"),
    "snap": PRIVATE,
    "vipps": Secret("vipps-canary"),
    "callback": Secret("callback-canary"),
    "shop": Secret("shop-canary"),
    "tokens": Secret("tokens-canary"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return load(path, {"PUBLIC": PUBLIC})


def captured(
    settings: Settings,
    name: str,
    *extra: tuple[str, str],
    key: Secret | None = None,
    method: str | None = None,
    path: str | None = None,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Captured:
    """Return a genuine request of an endpoint, as a file would hold it."""
    endpoint = next(each for each in settings.endpoints if each.name == name)
    url = f"https://pay.example{endpoint.path}"
    order = SampleOrder(url, key or KEYS[name], RECEIVED, changes)
    sample = provider_of(endpoint).sample(order)
    fields = [("Host", "pay.example"), *sample.headers, *extra]
    fields.append(("Content-Length", str(len(sample.body))))
    target = path or endpoint.path + sample.suffix
    lines = [f"{method or sample.method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields)]
    return parse("\r\n".join([*lines, "", ""]).encode() + sample.body)


def told(found: Walk, name: str) -> list[str]:
    return [step.detail for step in found.steps if step.name == name]


def everything(found: Walk) -> str:
    return "\n".join([*(step.detail for step in found.steps), *found.nearest])


@pytest.mark.parametrize("name", KEYS)
def test_what_is_genuine_is_accepted(name: str, settings: Settings) -> None:
    found = walk(settings, captured(settings, name), ip_address(PEER), RECEIVED)
    assert (found.reason, found.endpoint, found.client_known) == (None, name, True), everything(
        found
    )
    assert {step.result for step in found.steps} == {"ok", "-"}
    assert "192.0.2.0/24, from" in told(found, "allowlist")[0]
    assert told(found, "event key") != []
    assert "canary" not in everything(found)


def test_what_would_be_held_is_told(settings: Settings) -> None:
    changes = {"status_code": "201", "transaction_status": "settlement"}
    doubtful = captured(settings, "midtrans", changes=changes)
    found = walk(settings, doubtful, ip_address(PEER), RECEIVED)
    assert found.reason is None
    [key] = told(found, "event key")
    assert key.endswith("; held until a person requeues it: status_contradicts_code")


@pytest.mark.parametrize("name", KEYS)
def test_what_is_forged_is_refused_and_no_secret_is_shown(name: str, settings: Settings) -> None:
    other = Secret("other") if name != "snap" else private_pem(rsa_key(number=1))
    request = captured(settings, name, ("X-Note", KEYS[name].reveal()[:20].decode()), key=other)
    found = walk(settings, request, ip_address(PEER), RECEIVED)
    assert found.reason is Reason.SIGNATURE_MISMATCH
    (said,) = found.nearest
    assert "its key is none of those here, or what is signed was changed" in said
    assert "canary" not in everything(found)
    shown = told(found, "signed")
    assert bool(shown) == (name not in {"callback", "tokens"})
    if name in {"midtrans", "shop"}:
        assert shown[0].count("***") == 1


def test_the_signature_that_would_fit_is_never_shown(settings: Settings) -> None:
    good = captured(settings, "midtrans")
    fits = walk(settings, good, ip_address(PEER), RECEIVED)
    genuine = told(fits, "received")[0].encode()
    bad = parse(good.raw.replace(genuine, b"0" * 128))
    found = walk(settings, bad, ip_address(PEER), RECEIVED)
    assert told(found, "received") == ["0" * 128]
    assert told(fits, "received")[0] not in everything(found)


def test_the_nearest_miss_of_two_endpoints_is_the_other_key(
    settings: Settings, tmp_path: Path
) -> None:
    more = CONFIGURATION + (
        "  - {name: live, path: /live, provider: midtrans, environment: production,"
        " secrets: [live-canary], upstream: billing}\n"
    )
    (tmp_path / "relay.yaml").write_text(more)
    settings = load(tmp_path / "relay.yaml", {"PUBLIC": PUBLIC})
    request = captured(settings, "midtrans", key=Secret("live-canary"))
    found = walk(settings, request, ip_address(PEER), RECEIVED)
    assert found.nearest == [
        "it is signed for the endpoint live (production): that secret fits, this endpoint's do not"
    ]
    assert "canary" not in everything(found)


def test_every_secret_that_can_hardly_fit_is_named(tmp_path: Path) -> None:
    keys = '["${env:ONE}", "${env:TWO}", "${env:THREE}", "${env:FOUR}"]'
    live = CONFIGURATION.replace("[midtrans-canary]", keys).replace(
        "midtrans, environment: sandbox", "midtrans, environment: production"
    )
    assert live != CONFIGURATION
    path = tmp_path / "relay.yaml"
    path.write_text(live)
    environ = {
        "PUBLIC": PUBLIC,
        "ONE": "canary-one ",
        "TWO": "SB-Mid-server-canary",
        "THREE": "Mid-client-canary",
        "FOUR": "canary-four",
    }
    settings = load(path, environ)
    refused = captured(settings, "midtrans", key=Secret("another-canary"))
    found = walk(settings, refused, ip_address(PEER), RECEIVED)
    assert found.nearest == [
        "secrets.0 ends in a blank: nothing can fit it; write it without",
        "secrets.1 is a server key of the sandbox; production has another",
        (
            "secrets.2 is a client key, which signs nothing; take the server key that stands beside"
            " it"
        ),
    ]
    right = captured(settings, "midtrans", key=Secret("canary-one"))
    found = walk(settings, right, ip_address(PEER), RECEIVED)
    assert found.nearest[0] == "secrets.0 fits without the blanks around it"
    assert "canary" not in everything(found)


def test_the_client_is_followed_hop_by_hop(settings: Settings) -> None:
    chain = ("X-Forwarded-For", f"1.1.1.1, {PEER}, 10.2.3.4")
    found = walk(settings, captured(settings, "vipps", chain), ip_address(PROXY), RECEIVED)
    assert told(found, "peer") == ["10.0.0.1, a trusted proxy"]
    assert told(found, "hop 1") == ["10.2.3.4, a trusted proxy"]
    assert told(found, "hop 2") == ["192.0.2.7, no trusted proxy: the client"]
    assert told(found, "hop 3") == []
    assert (told(found, "client"), found.reason) == (["192.0.2.7, by x-forwarded-for"], None)


def test_a_forwarding_header_that_cannot_be_read_refuses(settings: Settings) -> None:
    chain = ("X-Forwarded-For", "unknown")
    found = walk(settings, captured(settings, "vipps", chain), ip_address(PROXY), RECEIVED)
    assert found.reason is Reason.FORWARDING_UNTRUSTED
    # The rest is looked at all the same.
    assert told(found, "signature") == ["fits secrets.0; covers body"]


def test_a_silent_proxy_is_told_by_what_is_missing(settings: Settings) -> None:
    found = walk(settings, captured(settings, "vipps"), ip_address(PROXY), RECEIVED)
    missing = f"{PROXY} is in trusted_proxies and sent no X-Forwarded-For"
    assert told(found, "client") == [f"forwarding_untrusted: {missing}"]
    assert told(found, "hop 1") == []
    assert found.nearest == [
        (
            f"let {PROXY} add X-Forwarded-For if it is a proxy; if it sends by itself, take it out"
            " of trusted_proxies"
        )
    ]
    other = captured(settings, "vipps", ("Forwarded", f"for={PEER}"))
    found = walk(settings, other, ip_address(PROXY), RECEIVED)
    assert found.nearest == [f"{PROXY} sends Forwarded: write forwarded_header: Forwarded"]


def test_an_address_that_is_not_allowed_says_where_it_is(settings: Settings) -> None:
    sandbox, chain = ip_address("147.139.209.49"), ("X-Forwarded-For", PEER)
    found = walk(settings, captured(settings, "midtrans", chain), sandbox, RECEIVED)
    assert found.reason is Reason.SOURCE_NOT_ALLOWED
    assert "147.139.209.49 is listed for midtrans, production" in found.nearest
    assert any("add it to trusted_proxies" in said for said in found.nearest)


def test_a_list_that_is_only_reported_refuses_nothing(settings: Settings) -> None:
    stranger = ip_address("203.0.113.1")
    found = walk(settings, captured(settings, "shop"), stranger, RECEIVED)
    assert found.reason is None
    assert told(found, "allowlist")[0].startswith("would be source_not_allowed")


OPENING = b"PROXY TCP4 %s 10.0.0.1 5000 443\r\n"


def behind_a_header(settings: Settings, source: bytes, name: str = "vipps") -> Captured:
    return parse(OPENING % source + captured(settings, name).raw)


@pytest.fixture
def told_by_proxies(settings: Settings) -> Settings:
    listener = settings.listen[0].model_copy(update={"proxy_protocol": True})
    return settings.model_copy(update={"listen": (listener,)})


@pytest.mark.parametrize("peer", [None, ip_address(PROXY)])
def test_a_proxy_header_says_who_the_client_is(
    peer: Address | None, told_by_proxies: Settings
) -> None:
    given = behind_a_header(told_by_proxies, PEER.encode())
    found = walk(told_by_proxies, given, peer, RECEIVED)
    assert (found.reason, found.client_known) == (None, True), everything(found)
    assert told(found, "proxy") == [
        "192.0.2.7 connected to the proxy; --peer is the proxy's own address"
    ]
    assert told(found, "peer") == ["192.0.2.7, by the PROXY header, no trusted proxy"]
    assert told(found, "client") == ["192.0.2.7, by proxy"]
    stranger = behind_a_header(told_by_proxies, b"203.0.113.9", "midtrans")
    found = walk(told_by_proxies, stranger, peer, RECEIVED)
    assert found.reason is Reason.SOURCE_NOT_ALLOWED


def test_a_proxy_header_is_believed_from_trusted_proxies_alone(told_by_proxies: Settings) -> None:
    given = behind_a_header(told_by_proxies, PEER.encode())
    found = walk(told_by_proxies, given, ip_address("203.0.113.1"), RECEIVED)
    assert found.reason is Reason.PROXY_HEADER_INVALID
    assert told(found, "proxy") == [
        "proxy_header_invalid: from an address that is not in trusted_proxies"
    ]


def test_a_proxy_header_that_names_nobody_delivers_nothing(told_by_proxies: Settings) -> None:
    given = parse(b"PROXY UNKNOWN\r\n" + captured(told_by_proxies, "vipps").raw)
    found = walk(told_by_proxies, given, None, RECEIVED)
    assert found.reason is Reason.FORWARDING_UNTRUSTED
    assert told(found, "proxy") == ["names no client: the proxy speaks for itself"]


def test_where_no_listener_reads_proxy_headers_it_says_what_to_do(settings: Settings) -> None:
    found = walk(settings, behind_a_header(settings, PEER.encode()), None, RECEIVED)
    assert found.reason is Reason.BODY_MALFORMED
    assert told(found, "head")[0].endswith(", line 1")
    assert "give the address that it names with --peer" in found.nearest[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_health_check_is_answered(method: str, settings: Settings) -> None:
    raw = f"{method} /healthz HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    found = walk(settings, parse(raw), None, RECEIVED)
    assert (found.reason, found.health) == (None, True)
    assert told(found, "endpoint") == ["the health check, answered 200 whoever asks"]


@pytest.mark.parametrize("line", ["POST /healthz", "GET /healthz?a", "GET /healthz/"])
def test_what_is_like_a_health_check_is_none(line: str, settings: Settings) -> None:
    raw = f"{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
    found = walk(settings, parse(raw), None, RECEIVED)
    assert (found.reason, found.health) == (Reason.UNKNOWN_ENDPOINT, False)


def test_without_a_peer_no_address_is_judged(settings: Settings) -> None:
    found = walk(settings, captured(settings, "midtrans"), None, RECEIVED)
    assert (found.reason, found.client_known) == (None, False)


def test_a_path_that_is_nobodys_names_the_nearest(settings: Settings) -> None:
    request = captured(settings, "midtrans", path="/midtrans/")
    found = walk(settings, request, ip_address(PEER), RECEIVED)
    assert (found.reason, found.endpoint) == (Reason.UNKNOWN_ENDPOINT, None)
    (said,) = found.nearest
    assert said.startswith("an endpoint has the path /midtrans; paths are compared as they are")
    assert "one slash too many at its end" in said


def test_time_is_judged_as_of_the_time_given(settings: Settings) -> None:
    late = RECEIVED + timedelta(days=30)
    found = walk(settings, captured(settings, "vipps"), ip_address(PEER), late)
    assert found.reason is Reason.TIMESTAMP_OUTSIDE_WINDOW
    assert "all is right but its time" in found.nearest[0]


@pytest.mark.parametrize(
    ("extra", "method", "reason"),
    [
        ((), "PUT", Reason.METHOD_NOT_ALLOWED),
        ((("Content-Encoding", "gzip"),), None, Reason.BODY_ENCODED),
        ((("Host", "twice"),), None, Reason.BODY_MALFORMED),
    ],
)
def test_what_the_edge_refuses_is_refused_here(
    extra: tuple[tuple[str, str], ...], method: str | None, reason: Reason, settings: Settings
) -> None:
    request = captured(settings, "midtrans", *extra, method=method)
    found = walk(settings, request, ip_address(PEER), RECEIVED)
    assert found.reason is reason


def test_a_body_that_is_too_large_is_refused(settings: Settings) -> None:
    large = parse(b"POST /midtrans HTTP/1.1\r\nHost: h\r\n\r\n" + b" " * 300_000)
    found = walk(settings, large, ip_address(PEER), RECEIVED)
    assert told(found, "body") == ["body_too_large: 300000 bytes announced; limits.body is 262144"]


def test_every_name_here_is_a_provider(settings: Settings) -> None:
    built_in = {"midtrans", "midtrans-snap", "vipps", "vipps-callback"}
    assert built_in <= {provider_name(each) for each in settings.endpoints}


# ---- agreement ------------------------------------------------------------------------------
# What `explain` says of a request is what the edge says of it: the verdict and the reason.

LOOPBACK_PEER = "127.0.0.1"
#: As the edge of the tests is set up, whose bodies may have 4096 bytes.
AS_SERVED = f"""
listen: [{{bind: "127.0.0.1:0"}}]
limits: {{body: 4096}}
upstreams: {{billing: {{url: "http://127.0.0.1:1/"}}}}
endpoints:
  - name: midtrans
    path: /hook
    provider: midtrans
    environment: sandbox
    secrets: [SB-Mid-server-of-the-tests]
    upstream: billing
    allowlist: {{replace: [{LOOPBACK_PEER}]}}
"""

JSON = [("Content-Type", "application/json")]
HEAD = b"POST /hook HTTP/1.1\r\nHost: relay.test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

#: An editor writes such line ends, so a file is mended where a connection would be refused.
MENDED = {"bare LF for every line"}


def smuggled(path: str) -> dict[str, bytes]:
    found = forms(path.encode(), [b"Content-Type: application/json"], genuine(), genuine_request())
    return {name: raw for name, raw in found.items() if name not in MENDED}


def encoded() -> dict[str, bytes]:
    codings = ("", " ", "identity", "IDENTITY", "gzip", "identity, gzip", "identity,", ",", "x\ty")
    found = {
        repr(coding): request("POST", "/hook", [*JSON, ("Content-Encoding", coding)], genuine())
        for coding in codings
    }
    twice = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    return found | {
        "twice": request("POST", "/hook", [*JSON, *twice], genuine()),
        "to nobody": request("POST", "/other", twice, b"x"),
        "too large, too": request("POST", "/hook", twice, bytes(5000)),
    }


def too_much() -> dict[str, bytes]:
    return {
        "target": b"POST /" + b"x" * MAX_LINE + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        "line": HEAD + b"X: " + b"x" * MAX_LINE + b"\r\n\r\n",
        "fields": HEAD + b"X: x\r\n" * MAX_FIELDS + b"\r\n",
        "head": HEAD + (b"X: " + b"x" * 8000 + b"\r\n") * (MAX_HEAD // 8000 + 1) + b"\r\n",
        "body": request("POST", "/hook", JSON, bytes(4097)),
        "body to nobody": request("POST", "/other", JSON, bytes(4097)),
        "body in chunks": CHUNKED + chunk(bytes(4097)),
        "chunks": CHUNKED + b"1\r\nx\r\n" * (MAX_CHUNKS + 1) + b"0\r\n\r\n",
    }


def others() -> dict[str, bytes]:
    body = genuine()
    length = b"Content-Length: %d\r\n" % len(body)
    return {
        "genuine": genuine_request(),
        "genuine in chunks": CHUNKED + chunk(body),
        "continued": HEAD + b"Expect: 100-continue\r\n" + length + b"\r\n" + body,
        "HTTP/1.0": b"POST /hook HTTP/1.0\r\n" + length + b"\r\n" + body,
        "forged": request("POST", "/hook", JSON, body.replace(b'"200"', b'"201"')),
        "cut off": HEAD + length + b"\r\n" + body[:-1],
        "cut off in a chunk": CHUNKED + chunk(body)[:-6],
        "no body": HEAD + b"\r\n",
        "another method": request("PUT", "/hook", JSON, body),
        "a method nobody knows": request("BREW", "/hook", JSON, body),
        "not UTF-8": request("POST", "/hook", JSON, b"\xff"),
        "a byte order mark": request("POST", "/hook", JSON, b"\xef\xbb\xbf" + body),
        "no TLS here": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    }


FAMILIES = {
    "smuggling": lambda: smuggled("/hook"),
    "smuggling, to nobody": lambda: smuggled("/other"),
    "codings": encoded,
    "too much": too_much,
    "others": others,
}


def explained(settings: Settings, raw: bytes) -> str | None:
    found = walk(settings, parse(raw), ip_address(LOOPBACK_PEER), RECEIVED)
    return None if found.reason is None else found.reason.value


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_edge_and_explain_agree(family: str, tmp_path: Path) -> None:
    requests = FAMILIES[family]()
    async with running_edge(tmp_path) as edge:
        for name, raw in requests.items():
            reader, writer = await asyncio.open_connection(*edge.address)
            writer.write(raw)
            if name.startswith("cut off"):
                writer.write_eof()
                await reader.read()
            else:
                await read_reply(reader)
            writer.close()
        lines = edge.lines()
    assert len(lines) == len(requests)
    judged = {name: line.get("reason") for name, line in zip(requests, lines, strict=True)}
    (tmp_path / "relay.yaml").write_text(AS_SERVED)
    settings = load(tmp_path / "relay.yaml", {})
    # In a thread, as the command has no loop of its own running.
    said = await asyncio.to_thread(
        lambda: {name: explained(settings, raw) for name, raw in requests.items()}
    )
    assert said == judged


# ---- steps ----------------------------------------------------------------------------------
# What cannot be read is told with its place in the file, a PROXY header counted.

MALFORMED = Refusal(Reason.BODY_MALFORMED, "why")
BROKEN = b"POST / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"


@pytest.fixture
def unread_settings(tmp_path: Path) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text("""
listen: [{bind: "127.0.0.1:0", proxy_protocol: true}]
trusted_proxies: ["127.0.0.1"]
upstreams: {billing: {url: "http://127.0.0.1:1/"}}
endpoints:
  - {name: midtrans, path: /midtrans, provider: midtrans, environment: sandbox,
     secrets: [midtrans-canary], upstream: billing}
""")
    return load(path, {})


@pytest.mark.parametrize(("before", "line"), [(b"", 3), (b"PROXY UNKNOWN\r\n", 4)])
def test_the_line_is_that_of_the_file(before: bytes, line: int, unread_settings: Settings) -> None:
    found = walk_unreadable(unread_settings, parse(before + BROKEN), MALFORMED)
    step = found.steps[-1]
    assert (found.reason, found.endpoint) == (Reason.BODY_MALFORMED, None)
    assert (step.name, step.result) == ("head", "no")
    assert step.detail == f"body_malformed: why, line {line}"
    assert [each.name for each in found.steps[:-1]] == (["proxy"] if before else [])


def test_no_secret_is_in_what_was_mended(unread_settings: Settings) -> None:
    found = walk_unreadable(
        unread_settings, parse(b"POST /midtrans-canary HTTP/1.1\nHost: a"), MALFORMED
    )
    assert "midtrans-canary" not in repr(found)
