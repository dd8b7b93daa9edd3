"""No credential for an upstream leaves the process, whatever upstreams and token servers say of it.

Each upstream tells everything that it was sent, in body and head, with each kind of status; token
servers are real, dead, or repeat the secret that they were sent. Then everything that was written
anywhere is searched, as `test_canaries` does.
"""

import asyncio
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import orjson
import pytest
import trustme

from relay.core.clock import SystemClock
from tests.harness.clock import wait_until
from tests.harness.oauth2_server import OAuth2Server
from tests.harness.upstream import Received, RefusingPort, Upstream, answer
from tests.harness.wire import Reply, exchange, request
from tests.system.canaries import found
from tests.system.test_canaries import ADMIN, Watched

SENT_BY = "canary-of-the-sender-1f6e"
HEADER = 'canary "header"/+key-93d1'
BEARER = "canary-bearer/+token-7c52=="
PASSWORD = "canary-pässword:&-0be4"
CLIENT_SECRET = "canary client/+secret-d8a7"
NEXT_SECRET = "canary-next-client-secret-2b90"
MISPLACED = "canary-misplaced-6f13"

#: By the names that the configuration gives them.
ENVIRON = {
    "SENT_BY": SENT_BY,
    "HEADER": HEADER,
    "BEARER": BEARER,
    "PASSWORD": PASSWORD,
    "CLIENT_SECRET": CLIENT_SECRET,
    "NEXT_SECRET": NEXT_SECRET,
}
UPSTREAMS = ("header", "bearer", "basic", "oauth2", "refusing", "dead", "nonsense", "tls")


class Environ(Watched):
    """With the secrets of upstreams in its environment."""

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | ENVIRON


class Echo:
    """An upstream that tells all it was sent, with one status after the other."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.server = Upstream(self._behave)

    async def _behave(self, writer: asyncio.StreamWriter) -> None:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        sent = self.server.received[-1]
        fields = [("Content-Type", "; ".join(["text/plain", *values(sent)]))]
        fields += [(f"X-{n}", each) for n, each in enumerate(values(sent))]
        fields += [("Retry-After", each) for each in values(sent)[:1]]
        # To a HEAD there is no body.
        body = b"" if sent.method == "HEAD" else b"".join(echoes(sent))
        await answer(status, fields, body)(writer)


def values(sent: Received) -> list[str]:
    """Return the credentials of a request, whole and without their scheme."""
    told = [*sent.values("Authorization"), *sent.values("X-Api-Key")]
    return [*told, *(each.partition(" ")[2] for each in told)]


def echoes(sent: Received) -> Iterator[bytes]:
    """Yield a request, and its credentials as services write them when they fail."""
    for each in values(sent):
        plain = each.encode("latin-1")
        yield plain + b"\n"
        yield json.dumps({"Authorization": each}).encode() + b"\n"
        yield quote(plain, safe="").encode() + b"\n"
        yield quote_plus(plain).encode() + b"\n"
        yield b64encode(plain) + b"\n" + urlsafe_b64encode(b"sent: " + plain) + b"\n"
    yield sent.head


@dataclass
class Servers:
    """What is called: an upstream of each kind, and token servers."""

    stored: Echo
    proxied: Echo
    refusing: Echo
    tokens: OAuth2Server
    nonsense: Upstream
    dead: str


def configuration(servers: Servers, key: Path, secret: str = "CLIENT_SECRET") -> str:
    def oauth2(token_url: str) -> str:
        client = f'client_id: relay, client_secret: "${{env:{secret}}}"'
        return f'auth: {{oauth2: {{token_url: "{token_url}", {client}}}}}'

    nonsense, dead = f"{servers.nonsense.url}/token", f"{servers.dead}/token"
    stored = servers.stored.server.url
    pem = f'tls: {{certificate: "{key}/client.pem", key: "{key}/client.key"}}'
    auth = {
        "header": (stored, 'headers: {X-Api-Key: "${env:HEADER}"}'),
        "bearer": (stored, 'auth: {bearer: "${env:BEARER}"}'),
        "basic": (stored, 'auth: {basic: {user: "üser", password: "${env:PASSWORD}"}}'),
        "oauth2": (stored, oauth2(servers.tokens.token_url)),
        "refusing": (servers.refusing.server.url, oauth2(servers.tokens.token_url)),
        "dead": (stored, oauth2(dead)),
        "nonsense": (stored, oauth2(nonsense)),
        "tls": (servers.dead.replace("http:", "https:"), pem),
    }
    upstreams = "".join(
        f'\n  {mode}-{name}: {{url: "{place(url, mode, servers)}/{name}", {more},'
        " timeout: 2s, retry: {schedule: [50ms]}}"
        for mode in ("store", "proxy")
        for name, (url, more) in auth.items()
    )
    sender = "{scheme: token, from: {header: X-Token}}"
    networks = '{live: {cidrs: ["127.0.0.1/32"]}}'
    endpoints = "".join(
        f"\n  - {{name: {mode}-{name}, path: /{mode}/{name}, mode: {mode}, environment: live,"
        f' upstream: {mode}-{name}, secrets: ["${{env:SENT_BY}}"],'
        f" provider: {{name: own, networks: {networks}, signature: {sender}}}}}"
        for mode in ("store", "proxy")
        for name in auth
    )
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
admin: {{bind: "127.0.0.1:0", token: "${{env:ADMIN}}"}}
upstreams:{upstreams}
endpoints:{endpoints}
"""


def place(url: str, mode: str, servers: Servers) -> str:
    stored = servers.stored.server.url
    return servers.proxied.server.url if mode == "proxy" and url == stored else url


async def repeats_its_question(server: Upstream, writer: asyncio.StreamWriter) -> None:
    """Answer as a token server that tells what it was sent, where a token should be."""
    sent = server.received[-1]
    told = {"access_token": f"{values(sent)[0]}\r\n", "error": values(sent)[1], "sent": str(sent)}
    await answer(200, (), json.dumps(told).encode())(writer)


async def deliver(watched: Watched, mode: str, name: str, number: int) -> Reply:
    body = b'{"number": %d, "mode": "%s"}' % (number, mode.encode())
    host = "{}:{}".format(*watched.public)
    fields = [("Host", host), ("X-Token", SENT_BY), ("Authorization", f"Bearer {MISPLACED}")]
    fields += [("X-Api-Key", MISPLACED), ("Content-Type", "application/json")]
    reply = await exchange(watched.public, request("POST", f"/{mode}/{name}", fields, body))
    watched.seen.append((f"an answer of {mode}/{name}", reply.head.encode("latin-1") + reply.body))
    return reply


async def look_everywhere(watched: Watched) -> None:
    """Use every page and path that tells of events, attempts and upstreams."""
    bearer = {"Authorization": f"Bearer {ADMIN}"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    session = await watched.ask("POST", "/login", form, f"token={ADMIN}".encode())
    cookie = {"Cookie": (session.value("Set-Cookie") or "").partition(";")[0]}
    for path in ("/", "/events", "/upstreams", "/allowlist", "/refusals", "/metrics", "/readyz"):
        await watched.ask("GET", path, cookie)
    for path in ("status", "upstreams", "events?limit=100", "audit"):
        await watched.ask("GET", f"/api/v1/{path}", bearer)
    listed = await watched.ask("GET", "/api/v1/events?limit=100", bearer)
    ids = [each["id"] for each in orjson.loads(listed.body)["events"]]
    assert len(ids) >= len(UPSTREAMS)
    for each in ids:
        await watched.ask("GET", f"/api/v1/events/{each}", bearer)
        await watched.ask("GET", f"/events/{each}", cookie)


async def run_commands(watched: Watched, *, show_all: bool) -> None:
    """Run every command that does; `events show` for one event of each upstream, or for all."""
    _, listed = await watched.command("events", "list", "--format", "json")
    events = orjson.loads(listed)["events"]
    one_each = {each["upstream"]: each for each in events if each["endpoint"].startswith("store")}
    for at, each in enumerate(events if show_all else one_each.values()):
        form_of = ("text", "json")[at % 2]
        code, _ = await watched.command("events", "show", each["id"], "--format", form_of)
        assert code == 0
    raw = request("POST", "/store/bearer", [("Host", "h"), ("X-Token", SENT_BY)], b"{}")
    for words in (
        *(("check", "--format", form_of) for form_of in ("text", "json")),
        ("check", "--connect", "--format", "json"),
        *(("events", "export", "--format", form_of) for form_of in ("jsonl", "csv")),
        ("events", "list"),
        *(("status", "--format", form_of) for form_of in ("text", "json")),
        *(("upstreams", "list", "--format", form_of) for form_of in ("text", "json")),
        ("audit",),
        ("reload",),
    ):
        await watched.command(*words)
    await watched.command("explain", "-", "--peer", "127.0.0.1", given=raw)


async def stream(watched: Watched, stop: asyncio.Event) -> None:
    """Read the stream of decisions until told to stop."""
    reader, writer = await asyncio.open_connection(*watched.admin)
    host = "{}:{}".format(*watched.admin)
    fields = [("Host", host), ("Authorization", f"Bearer {ADMIN}")]
    writer.write(request("GET", "/api/v1/stream", fields))
    said = bytearray()
    stopped = asyncio.ensure_future(stop.wait())
    reading = asyncio.ensure_future(reader.read(65536))
    while not stop.is_set():
        await asyncio.wait({stopped, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            said += reading.result()
            reading = asyncio.ensure_future(reader.read(65536))
    reading.cancel()
    writer.close()
    watched.seen.append(("the stream", bytes(said)))


@pytest.mark.proof
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("log_format", "debug"), [("json", False), ("text", True)])
async def test_no_credential_is_written_anywhere(
    log_format: str, debug: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    apart = tmp_path_factory.mktemp("keys")
    pair = trustme.CA().issue_cert("relay.internal")
    pair.private_key_pem.write_to_path(apart / "client.key")
    pair.cert_chain_pems[0].write_to_path(apart / "client.pem")
    async with AsyncExitStack() as stack:
        servers = await started(stack)
        config = tmp_path / "relay.yaml"
        config.write_text(configuration(servers, apart))
        watched = await stack.enter_async_context(Environ(config, log_format, debug))
        stop = asyncio.Event()
        streaming = asyncio.ensure_future(stream(watched, stop))
        for number in range(2):
            for mode in ("store", "proxy"):
                for name in UPSTREAMS:
                    await deliver(watched, mode, name, number)
        # With tokens that have ended, and such that were revoked.
        servers.tokens.revoke_all()
        for name in ("oauth2", "refusing"):
            for mode in ("store", "proxy"):
                await deliver(watched, mode, name, 2)
        # header, bearer, basic and oauth2: refused and broken once each, then taken.
        assert await wait_until(lambda: len(servers.stored.server.received) >= 14, 20)
        watched.keep_files("while it runs")
        await look_everywhere(watched)
        await run_commands(watched, show_all=debug)
        servers.tokens.clients["relay"].secret = NEXT_SECRET
        config.write_text(configuration(servers, apart, "NEXT_SECRET"))
        reloaded = await watched.ask("POST", "/-/reload", {"Authorization": f"Bearer {ADMIN}"})
        assert reloaded.status == 200
        asked = servers.tokens.questions
        await deliver(watched, "store", "oauth2", 3)
        assert (await deliver(watched, "proxy", "oauth2", 3)).status == 200
        assert servers.tokens.questions > asked
        await look_everywhere(watched)
        stop.set()
        await streaming
        await watched.end()
    tokens = [*servers.tokens.issued]
    assert len(tokens) > 4
    key = (apart / "client.key").read_text().splitlines()[-2]
    secrets = [(name, text) for name, text in ENVIRON.items() if name != "SENT_BY"]
    secrets += [("the private key", key), ("the proof of a sender", MISPLACED)]
    secrets += [("the token of a sender", SENT_BY)]
    secrets += [(f"token {number}", text) for number, text in enumerate(tokens)]
    assert found(secrets, watched.seen) == []
    # Everything did go out, was echoed, and is masked where it is kept.
    sent = b"".join(each.head for each in (*servers.stored.server.received,))
    for text in (HEADER, BEARER):
        assert text.encode() in sent
    assert sum(token.encode() in sent for token in tokens) > 1
    places = " ".join(found([("it", "Bearer ***"), ("it", "Basic ***")], watched.seen))
    for where in ("events show", "GET /events/", "GET /api/v1/events/", "an answer of proxy"):
        assert where in places, where


async def started(stack: AsyncExitStack) -> Servers:
    tokens = OAuth2Server(SystemClock(), lifetime=2)
    tokens.clients["relay"].secret = CLIENT_SECRET
    nonsense = Upstream(lambda writer: repeats_its_question(nonsense, writer))
    servers = Servers(
        stored=Echo(401, 500, 401, 422, 200, 503, 401, 200),
        proxied=Echo(200, 400, 401, 500, 401, 200, 200),
        refusing=Echo(401),
        tokens=tokens,
        nonsense=nonsense,
        dead=stack.enter_context(RefusingPort()),
    )
    for each in (servers.stored.server, servers.proxied.server, servers.refusing.server, nonsense):
        await stack.enter_async_context(each)
    await stack.enter_async_context(tokens)
    return servers
