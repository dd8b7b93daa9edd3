"""Queries: the upstream's own is kept, the caller's is forwarded or dropped with a mark."""

import asyncio
import html
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from relay.cli import application
from relay.core.errors import RelayError
from tests.harness.deliveries import BEARER, ENVIRON, MIDTRANS, configuration, midtrans_body
from tests.harness.node import Node
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request
from tests.system.canaries import found
from tests.system.test_every_kind import CLIENT, KINDS, endpoint, message
from tests.system.test_every_kind import ENVIRON as KINDS_ENVIRON

MODES, POLICIES = ("store", "proxy"), ("drop", "forward")
_OWN = "?wc-api=WC_Gateway_Midtrans"


def _message(query: str) -> bytes:
    fields = [("Content-Type", "application/json"), ("X-Forwarded-For", MIDTRANS)]
    return request("POST", f"/midtrans/notification{query}", fields, midtrans_body())


@pytest.mark.parametrize("mode", ["store", "proxy"])
@pytest.mark.parametrize(
    ("own", "policy", "query", "target", "dropped"),
    [
        ("", "", "", "/hooks", False),
        (_OWN, "", "", f"/hooks{_OWN}", False),
        (_OWN, "query: drop", "?shop=7&uuid=c12b", f"/hooks{_OWN}", True),
        ("", "", "?shop=7&uuid=c12b", "/hooks", True),
        ("", "query: forward", "?shop=7&uuid=c12b", "/hooks?shop=7&uuid=c12b", False),
        (_OWN, "query: forward", "?shop=7", f"/hooks{_OWN}&shop=7", False),
        (_OWN, "query: forward", "?", f"/hooks{_OWN}", False),
    ],
)
async def test_what_becomes_of_queries(
    *,
    own: str,
    policy: str,
    query: str,
    target: str,
    dropped: bool,
    mode: str,
    tmp_path: Path,
    upstream: Upstream,
) -> None:
    path = tmp_path / "relay.yaml"
    text = configuration(upstream.url).replace("/hooks", f"/hooks{own}")
    keys = f"    upstream: billing\n    mode: {mode}\n" + (f"    {policy}\n" if policy else "")
    path.write_text(text.replace("    upstream: billing\n", keys, 1))
    async with Node(path, ENVIRON) as node:
        assert (await exchange(node.public[0], _message(query))).status == 200
        await upstream.has_received(1)
        (received,) = upstream.received
        assert received.target == target
        await node.wait_for(event="attempt", outcome="delivered")
        assert await _shown(node) is dropped


async def _shown(node: Node) -> bool:
    """Return what the API tells of the one event, whose history may be written a moment later."""
    events: list[dict[str, str]] = []
    while not events:
        reply = await exchange(node.admin, request("GET", "/api/v1/events", [BEARER]))
        events = orjson.loads(reply.body)["events"]
    path = f"/api/v1/events/{events[0]['id']}"
    detail = orjson.loads((await exchange(node.admin, request("GET", path, [BEARER]))).body)
    content = detail["content"]
    assert content is None or not content["suffix"].endswith("?")
    return bool(detail["query_dropped"])


# ---- shops and servers that take everything at one path ---------------------------------------

#: What stands in the file behind the host, and the request target that it has to be: of
#: WooCommerce, OpenCart (3, and 4 with its bar), Jenkins, and of other ways to write one.
FORMS = {
    "woocommerce": ("/?wc-api=WC_Gateway_Midtrans", "/?wc-api=WC_Gateway_Midtrans"),
    "no-path": ("?wc-api=WC_Gateway_Midtrans", "/?wc-api=WC_Gateway_Midtrans"),
    "opencart": (
        "/index.php?route=extension/payment/midtrans/payment_notification",
        "/index.php?route=extension/payment/midtrans/payment_notification",
    ),
    "opencart-4": (
        "/index.php?route=extension/snap/payment/snap|payment_notification",
        "/index.php?route=extension/snap/payment/snap|payment_notification",
    ),
    "jenkins": (
        "/generic-webhook-trigger/invoke?token=a-job/main",
        "/generic-webhook-trigger/invoke?token=a-job/main",
    ),
    "encoded": (
        "/%C3%A9/?a=%2F%26%zz+b&%61;c=1;d&e=",
        "/%C3%A9/?a=%2F%26%zz+b&%61;c=1;d&e=",
    ),
    "marks": ("/a?b?c?/../d//e", "/a?b?c?/../d//e"),
    "mark": ("/hooks/?", "/hooks/"),
    "and": ("/hooks?a=1&", "/hooks?a=1&"),
    "slash": ("/hooks/?a=1", "/hooks/?a=1"),
}


async def test_a_shop_gets_the_very_target_that_the_file_says(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Stored and passed on; forwarded, the caller's query comes behind it."""
    names = [(form, mode, query) for form in FORMS for mode in MODES for query in POLICIES]
    path = tmp_path / "relay.yaml"
    path.write_text(
        _several(
            {form: upstream.url + written for form, (written, _) in FORMS.items()},
            "".join(
                endpoint(f"{form}-{query}", KINDS["midtrans"], mode).replace(
                    f"upstream: {mode}\n", f"upstream: {form}\n    query: {query}\n"
                )
                for form, mode, query in names
            ),
        )
    )
    async with Node(path, KINDS_ENVIRON) as node:
        for form, mode, query in names:
            sample = message(KINDS["midtrans"], node.url)
            fields = [*sample.headers, ("X-Forwarded-For", CLIENT)]
            raw = request("POST", f"/{mode}/{form}-{query}?shop=7;8", fields, sample.body)
            assert (await exchange(node.public[0], raw)).status == 200, form
        await upstream.has_received(len(names))
    arrived = {each.values("Relay-Endpoint")[0]: each.target for each in upstream.received}
    for form, mode, query in names:
        _, own = FORMS[form]
        forwarded = own + ("" if own.endswith("&") else "&" if "?" in own else "?") + "shop=7;8"
        expected = {"drop": own, "forward": forwarded}[query]
        assert arrived[f"{mode}-{form}-{query}"] == expected


async def test_the_remainder_of_a_prefix_goes_before_the_query(
    tmp_path: Path, upstream: Upstream
) -> None:
    kinds = ("snap-debit", "transaction", "checkout")
    urls = {"shop": f"{upstream.url}/in/?key=1", "bare": f"{upstream.url}?key=1"}
    path = tmp_path / "relay.yaml"
    path.write_text(
        _several(
            urls,
            "".join(
                endpoint(f"{name}-{at}", KINDS[name], mode).replace(
                    f"upstream: {mode}\n", f"upstream: {at}\n"
                )
                for name in kinds
                for at in urls
                for mode in MODES
            ),
        )
    )
    sent = {}
    async with Node(path, KINDS_ENVIRON) as node:
        for name in kinds:
            for at in urls:
                for mode in MODES:
                    base = f"/{mode}/{name}-{at}"
                    sample = message(KINDS[name], node.url + base)
                    fields = [("Host", "{}:{}".format(*node.public[0])), *sample.headers]
                    fields.append(("X-Forwarded-For", CLIENT))
                    raw = request(sample.method, base + sample.suffix, fields, sample.body)
                    assert (await exchange(node.public[0], raw)).status == 200, base
                    sent[f"{mode}-{name}-{at}"] = sample.suffix
        await upstream.has_received(len(sent))
    for each in upstream.received:
        name = each.values("Relay-Endpoint")[0]
        suffix, _, query = sent[name].partition("?")
        base = "" if name.endswith("bare") else "/in" if suffix else "/in/"
        own = "?key=1" + (f"&{query}" if query else "")
        assert each.target == (base + suffix or "/") + own, name


def _several(urls: dict[str, str], endpoints: str) -> str:
    upstreams = "".join(f'  {name}: {{url: "{url}"}}\n' for name, url in urls.items())
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0"}}
upstreams:
{upstreams}
endpoints:{endpoints}
"""


# ---- a key in the URL -------------------------------------------------------------------------

KEY = "canary+key/1"
WRITTEN = "canary%2Bkey%2f1"
MISTAKES = ('timeout: "soon"', "timeout: 1s, timeout: 2s", "tiemout: 1s", "concurrency: 0")
WRONG_URLS = ("/ hooks?token=", "#?token=", "/%zz\\u00e9?token=", ":99999/?token=")


async def test_a_key_in_the_url_of_an_upstream_is_shown_nowhere(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> None:
    """Not even where the upstream says what it was asked for, as Express does."""
    said = f"<pre>Cannot POST /hooks?token={WRITTEN}&amp;x=1</pre> {KEY} {html.escape(KEY)}"
    upstream.behave(answer(500, body=said.encode()))
    seen: list[tuple[str, bytes]] = []
    path = tmp_path / "relay.yaml"
    url = f"{upstream.url}/hooks?token={WRITTEN}&x=1"
    text = configuration(upstream.url).replace(f"{upstream.url}/hooks", url)
    path.write_text(text)
    wrong = tmp_path_factory.mktemp("wrong") / "relay.yaml"

    async def command(*words: str) -> None:
        told = await asyncio.to_thread(CliRunner().invoke, application(), list(words), env=ENVIRON)
        assert isinstance(told.exception, RelayError | SystemExit | None), words
        seen.append((" ".join(words), f"{told.output}{told.exception}".encode()))

    async with Node(path, ENVIRON) as node:
        assert (await exchange(node.public[0], _message(""))).status == 200
        await node.wait_for(event="attempt", status=500)
        reply = await exchange(node.admin, request("GET", "/api/v1/events", [BEARER]))
        (event,) = orjson.loads(reply.body)["events"]
        for target in ("upstreams", "status", f"events/{event['id']}"):
            raw = request("GET", f"/api/v1/{target}", [BEARER])
            seen.append((target, (await exchange(node.admin, raw)).body))
        form_type = ("Content-Type", "application/x-www-form-urlencoded")
        token = f"token={ENVIRON['RELAY_ADMIN_TOKEN']}".encode()
        login = await exchange(node.admin, request("POST", "/login", [form_type], token))
        cookie = ("Cookie", (login.value("Set-Cookie") or "").partition(";")[0])
        for page in ("/", "/upstreams", f"/events/{event['id']}", "/metrics"):
            reply = await exchange(node.admin, request("GET", page, [cookie]))
            assert reply.status == 200
            seen += [(page, reply.body)]
        for form in ("text", "json"):
            more = ("-c", str(path), "--format", form)
            await command("check", "--connect", *more)
            await command("upstreams", "list", *more)
            await command("status", *more)
            await command("events", "show", event["id"], *more)
        await command("events", "export", "-c", str(path))
        for number, mistake in enumerate(MISTAKES):
            wrong.write_text(text.replace("timeout: 2s\n", f"{mistake}\n"))
            await command("check", "-c", str(wrong), "--format", ("text", "json")[number % 2])
        for beginning in WRONG_URLS:
            wrong.write_text(text.replace("/hooks?token=", beginning))
            await command("check", "-c", str(wrong))
        path.write_text(text.replace("timeout: 2s", "timeout: 3s, tiemout: 1s"))
        await exchange(node.admin, request("POST", "/-/reload", [BEARER]))
        path.write_text(text.replace("timeout: 2s", "timeout: 3s"))
        await exchange(node.admin, request("POST", "/-/reload", [BEARER]))
        seen.append(("the log", repr((node.lines, node.noise)).encode()))
        seen += [(file.name, file.read_bytes()) for file in tmp_path.iterdir() if file != path]
    assert upstream.received[0].target == f"/hooks?token={WRITTEN}&x=1"
    secrets = [("the key", KEY), ("the key as it is written", WRITTEN)]
    assert found(secrets, seen) == []
    # The answer was looked at: what else it says is there.
    assert "Cannot POST in" in " ".join(found([("Cannot POST", "Cannot POST /hooks")], seen))
