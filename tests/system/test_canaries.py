"""No secret leaves the process: not in a log, a metric, the spool, a page, an error or a command.

Every kind of secret goes through a running relay and every command, good and bad requests and
mistakes in the configuration included; then everything that was written anywhere is searched.
"""

import asyncio
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
import pytest
from typer.testing import CliRunner

from relay.cli import application
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.core.secret import Secret
from relay.providers import EndpointOptions, SampleOrder
from tests.harness.upstream import StatusApi, Upstream, answer, close
from tests.harness.wire import Reply, exchange, request
from tests.system.canaries import forms, found
from tests.system.test_every_kind import (
    CLIENT,
    DESCRIBED,
    ENVIRON,
    KEYS,
    KINDS,
    endpoint,
    message,
    provider_of,
)

ADMIN = "canary-admin-8d1f0c7e2b"
SIGNING_KEY = "canary-signing-3b9a6f5d10ab"
SIGNING = f"whsec_{b64encode(SIGNING_KEY.encode()).decode()}"
STRANGER = "203.0.113.66"
#: Kinds whose key is public: what the relay is given of them is no secret.
PUBLIC = {"midtrans-snap", "rsa", "ed25519"}
BUILT_IN = ("midtrans", "midtrans-snap", "vipps", "vipps-callback")
SENT_TO = {"midtrans-snap": "snap-debit", "vipps-callback": "transaction"}
#: What somebody else uses, and sends here by mistake.
MISPLACED = "canary-misplaced-token-51c0"
#: A token in the query of a refused delivery: written nowhere, or, where a signature may cover
#: the query, kept where the refusal is, and shown nowhere.
QUERY = "canary-query-token-77ab"
SIGNED_QUERY = "canary-signed-query-token-90cd"
#: A configured secret that somebody puts into a body: kept there with a refusal, and shown nowhere.
SHARED_KEY = "canary-shared-by-mistake-41e7"
SHARED = f"whsec_{b64encode(SHARED_KEY.encode()).decode()}"


#: What a kept refusal may hold, since all that was signed is verified anew.
KEPT = ("a token in a signed query", "a secret in a body", "a key in a body")


def line_of(key: Secret) -> str:
    """Return a secret, or of a private key in PEM the last whole line."""
    *_, line = [line for line in key.reveal().decode().splitlines() if not line.startswith("--")]
    return line


SECRETS = [
    ("the admin token", ADMIN),
    ("the signing secret", SIGNING),
    ("the signing key", SIGNING_KEY),
    ("a misplaced token", MISPLACED),
    ("a token in a query", QUERY),
    ("a token in a signed query", SIGNED_QUERY),
    ("a secret in a body", SHARED),
    ("a key in a body", SHARED_KEY),
    *(
        (f"the secret of {name}", pair.verifying)
        for name, pair in KEYS.items()
        if name not in PUBLIC
    ),
    *((f"the key that signs for {name}", line_of(pair.signing)) for name, pair in KEYS.items()),
    *((f"a forger's key of {name}", line_of(pair.forged)) for name, pair in KEYS.items()),
]


def test_the_search_knows_every_form() -> None:
    secret = "canary/with+odd=signs:1 \"and' <é>"
    for number, form in enumerate(forms(secret)):
        places = [("here", b"before " + form + b" after"), ("there", b"nothing")]
        assert found([("it", secret)], places) == ["it in here"], number
    # As Basic authentication does it: the secret is a part of what is encoded.
    assert found([("it", "canary-1234")], [("here", b"Y2FuYXJ5LTEyMzQ6")]) == ["it in here"]
    assert found([("it", "canary-1234")], [("here", b"OmNhbmFyeS0xMjM0")]) == ["it in here"]


# ---- one relay, and everything that can be seen of it -----------------------------------------


@dataclass
class Watched:
    """A running relay. `seen` is what it and the commands have written, by where."""

    config: Path
    log_format: str
    debug: bool = False
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    log: bytearray = field(default_factory=bytearray)
    public: tuple[str, int] = ("", 0)
    admin: tuple[str, int] = ("", 0)

    @property
    def environ(self) -> dict[str, str]:
        usual = {**ENVIRON, "ADMIN": ADMIN, "SIGNING": SIGNING, "SHARED": SHARED}
        usual["PATH"] = "/usr/bin:/bin"
        # Python's own words of what runs, and where, when something is slow or crashes.
        debug = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"}
        return usual | debug if self.debug else usual

    async def __aenter__(self) -> Self:
        words = ("run", "-c", str(self.config), "--log-format", self.log_format)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", *words),
            env=self.environ,
            stderr=subprocess.PIPE,
        )
        stderr = self._process.stderr
        assert stderr is not None
        async with asyncio.timeout(20):
            while b"started" not in self.log:
                line = await stderr.readline()
                assert line, self.log.decode()
                self.log += line
        started = self.log.splitlines()[-1]
        ports = [int(port) for port in re.findall(rb"127\.0\.0\.1:(\d+)", started)]
        assert len(ports) == 2, started
        by_name = sorted(ports, key=lambda port: started.index(f":{port}".encode()))
        # Both formats name the fields.
        if started.index(b"admin") < started.index(b"public"):
            by_name.reverse()
        self.public, self.admin = (("127.0.0.1", port) for port in by_name)
        self._rest = asyncio.get_running_loop().create_task(stderr.read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._rest

    async def end(self) -> None:
        """Stop as an operator does, or crash, and keep the log and the files."""
        self._process.send_signal(signal.SIGABRT if self.debug else signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await self._process.wait() == (-signal.SIGABRT if self.debug else 0)
            self.log += await self._rest
        assert (b"Fatal Python error: Aborted" in self.log) == self.debug
        self.seen.append(("the log", bytes(self.log)))
        self.keep_files("after the end")

    def keep_files(self, when: str) -> None:
        """Read what stands beside the configuration: spool, write-ahead log, state."""
        for path in sorted(self.config.parent.rglob("*")):
            if path.is_file() and path != self.config:
                self.seen.append((f"{path.name} {when}", path.read_bytes()))

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        """Ask the private listener."""
        fields = [("Host", "{}:{}".format(*self.admin)), *(headers or {}).items()]
        reply = await exchange(self.admin, request(method, target, fields, body))
        self.seen.append((f"{method} {target}", reply.head.encode("latin-1") + reply.body))
        return reply

    async def command(
        self, *words: str, config: Path | None = None, given: bytes = b""
    ) -> tuple[int, bytes]:
        """Run a command; return its exit code and output."""
        environ = {**self.environ, "RELAY_CONFIG": str(config or self.config)}
        result = await asyncio.to_thread(
            CliRunner().invoke, application(), list(words), input=given, env=environ
        )
        # What `main` tells in a sentence; anything else would be a traceback.
        told = isinstance(result.exception, (RelayError, OSError))
        assert told or isinstance(result.exception, SystemExit | None), words
        output = result.stdout_bytes
        said = output + result.stderr_bytes + str(result.exception if told else "").encode()
        self.seen.append((f"relay {' '.join(words)}", said))
        return result.exit_code, output


def configuration(stored: str, asked: str, status_api: str) -> str:
    endpoints = "".join(
        endpoint(name, kind, mode) for mode in ("store", "proxy") for name, kind in KINDS.items()
    )
    confirm = f'confirm: {{with: status, on_error: deliver, url: "{status_api}"}}'
    endpoints = endpoints.replace(
        "path: /store/midtrans\n", f"path: /store/midtrans\n    {confirm}\n"
    )
    return f"""
listen: [{{bind: "127.0.0.1:0"}}]
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:ADMIN}}"}}
limits: {{body: 16KiB}}
upstreams:
  store:
    url: "{stored}/hooks"
    retry: {{schedule: [50ms]}}
    signing_secrets: ["${{env:SIGNING}}"]
  proxy: {{url: "{asked}/hooks", timeout: 500ms, signing_secrets: ["${{env:SIGNING}}"]}}
  unused: {{url: "{asked}/unused", signing_secrets: ["${{env:SHARED}}"]}}
endpoints:{endpoints}
"""


def requests(watched: Watched) -> Iterator[bytes]:
    """Yield messages of every kind to both modes: genuine, forged, broken and from strangers."""
    host = "{}:{}".format(*watched.public)
    for mode in ("store", "proxy"):
        for name, kind in KINDS.items():
            url = f"http://{host}/{mode}/{name}"
            pair = KEYS[kind.provider]
            genuine = message(kind, url)
            order = SampleOrder(url, pair.forged, SystemClock().now(), kind.changes)
            forged = provider_of(kind.provider).sample(order)
            bound = provider_of(kind.provider).bind(
                EndpointOptions(secrets=(Secret(pair.verifying),))
            )
            query = SIGNED_QUERY if bound.signs_query else QUERY
            shared = b'{"server_key": "' + SHARED.replace("/", "\\/").encode() + b'"}'
            # What was meant for somebody else, in the places where tokens stand.
            lost = [
                ("Authorization", f"Bearer {MISPLACED}"),
                ("X-Token", MISPLACED),
                ("Proxy-Authorization", f"Basic {b64encode(f'me:{MISPLACED}'.encode()).decode()}"),
                ("Cookie", f"session={MISPLACED}"),
                ("X-Forwarded-Access-Token", MISPLACED),
            ]
            # Beside what is genuine, where no proof of its own stands in that place.
            beside = lost[2:]
            for sample, client, more, body in (
                (genuine, CLIENT, beside, genuine.body),
                (genuine, CLIENT, (), genuine.body),
                (forged, CLIENT, (), forged.body),
                (genuine, STRANGER, (), genuine.body),
                (genuine, "nobody", (), genuine.body),
                (genuine, CLIENT, (), genuine.body[:-1]),
                (forged, CLIENT, (), shared),
                (genuine, CLIENT, (), bytes(17_000)),
                (None, CLIENT, lost, genuine.body),
                (None, CLIENT, (), genuine.body),
            ):
                fields = [("Host", host), *(sample.headers if sample else ()), *more]
                target = f"/{mode}/{name}{(sample or genuine).suffix}"
                # Below a prefix a query is a part of the event, as its body is.
                if sample is forged and not genuine.suffix:
                    target += f"?key={query}"
                yield request(genuine.method, target, [*fields, ("X-Forwarded-For", client)], body)
    for target in ("/nowhere", f"/nowhere?token={QUERY}", f"/{QUERY}", f"/store/midtrans/{QUERY}"):
        yield request("POST", target, [("Authorization", f"Bearer {MISPLACED}")], b"{}")
    for line in (f"Upgrade: {MISPLACED}", f"Transfer-Encoding: {MISPLACED}", f" {MISPLACED}"):
        yield f"POST /store/token HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n".encode()
    yield f"POST /store/token HTTP/1.1\r\nX-Token {MISPLACED}\r\n\r\n".encode()


async def look_at_everything(watched: Watched) -> None:
    """Use every page, path and command, with and without the right to."""
    bearer = {"Authorization": f"Bearer {ADMIN}"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    await watched.ask("POST", "/login", form, f"token={MISPLACED}".encode())
    session = await watched.ask("POST", "/login", form, f"token={ADMIN}".encode())
    assert session.status == 303
    cookie = {"Cookie": (session.value("Set-Cookie") or "").partition(";")[0]}
    for path in ("/", "/login", "/metrics", "/livez", "/readyz", "/nowhere", "/api/v1/events"):
        for rights in ({}, cookie, bearer, {"Authorization": f"Bearer {MISPLACED}"}):
            await watched.ask("GET", path, rights)
    for kind in ("events", "refusals"):
        listed = await watched.ask("GET", f"/api/v1/{kind}", bearer)
        assert listed.status == 200
        ids = [each["id"] for each in orjson.loads(listed.body)[kind]]
        assert ids, kind
        for each in ids:
            assert (await watched.ask("GET", f"/api/v1/{kind}/{each}", bearer)).status == 200
            if kind == "events":
                assert (await watched.ask("GET", f"/events/{each}", cookie)).status == 200
        what = {"events": "requeue", "refusals": "release"}[kind]
        for each in ids:
            await watched.ask("POST", f"/api/v1/{kind}/{each}/{what}", bearer)
        for form_of in ("text", "json"):
            assert (await watched.command(kind, "list", "--format", form_of))[0] == 0
            await watched.command(kind, what, *ids, "--format", form_of)
            for each in ids[::4]:
                await watched.command(kind, "show", each, "--format", form_of)
    assert (await watched.command("events", "export"))[0] == 0
    await watched.command("events", "requeue", "--status", "delivered", "--yes")
    assert (await watched.ask("GET", "/api/v1/allowlist", bearer)).status == 200
    # Refusals are counted by now.
    assert b"relay_refusals_total" in (await watched.ask("GET", "/metrics")).body
    await watched.ask("POST", "/-/reload", bearer)


async def run_every_command(watched: Watched, captures: list[bytes], apart: Path) -> None:
    for words in (
        ("check",),
        ("check", "--format", "json"),
        *(("providers", "show", name) for name in BUILT_IN),
        ("providers", "show", str(watched.config)),
        ("providers", "list"),
        ("allowlist", "show"),
        ("allowlist", "show", "--format", "json"),
        ("allowlist", "check", STRANGER),
        ("allowlist", "diff"),
        ("allowlist", "diff", "--endpoint", "store-midtran"),
        *(
            ("allowlist", "export", "--format", form_of)
            for form_of in ("json", "nftables", "nginx")
        ),
        ("allowlist", "export", "--format", "haproxy", "--endpoint", "store-hmac"),
        ("schema",),
        ("version",),
        ("migrate",),
        ("nonsense",),
    ):
        await watched.command(*words)
    other = apart / "other.json"
    other.write_text(f'[{{"endpoint": "store-midtrans", "networks": ["{MISPLACED}"')
    await watched.command("allowlist", "diff", "--against", str(other))
    # One of each kind that holds a token or goes to an endpoint of one, and some of the others.
    tokens = [each for each in captures if b" /store/token" in each or b"nowhere" in each]
    for raw in (*captures[::11], *tokens):
        await watched.command("explain", "-", "--peer", "127.0.0.1", given=raw)
    for word in (MISPLACED, QUERY, SHARED):
        await watched.command("explain", "-", given=f"{word}\r\n\r\n".encode())
        await watched.command("explain", "-", given=f"POST /{word}".encode())
    orders = b"order-1\norder-2\nodd order\n"
    for words in (("--format", "json"), ()):
        await watched.command("reconcile", "--endpoint", "store-midtrans", *words, given=orders)
    await watched.command("reconcile", "--endpoint", "store-hmac", given=orders)
    await send_every_kind(watched, apart)


async def send_every_kind(watched: Watched, apart: Path) -> None:
    """Send with right keys, with wrong ones and with no keys at all, to where somebody listens."""
    host = "http://{}:{}".format(*watched.public)
    for name in BUILT_IN:
        pair = KEYS[name]
        to = f"{host}/store/{SENT_TO.get(name, name)}"
        for number, key in enumerate((pair.signing, pair.forged)):
            file = apart / f"{name}-{number}.key"
            file.write_bytes(key.reveal())
            for form_of in ("text", "json"):
                words = ("send", name, "--to", to, "--from", CLIENT, "--format", form_of)
                await watched.command(*words, "--key", str(file))
    secret = KEYS["midtrans"].verifying
    for to in ("nowhere", "http://127.0.0.1:1/"):
        await watched.command("send", "midtrans", "--to", to, "--secret", secret)
    # A key of another kind, and one that is broken.
    await watched.command("send", "midtrans-snap", "--to", host, "--secret", secret)
    private = KEYS["rsa"].signing.reveal().decode()
    await watched.command("send", "midtrans-snap", "--to", host, "--secret", private[:-40])
    await watched.command("send", "hmac", "--to", host, "--secret", secret, "--set", "x")


#: Where a secret is written out, and where it does not belong: what is said must not repeat it.
TOKEN = 'secrets: ["${env:SECRET_token}"]'
RSA = 'secrets: ["${env:SECRET_rsa}"]'
HMAC = '"${env:SECRET_hmac}"'
ADMIN_TOKEN = 'token: "${env:ADMIN}"'
SIGNED = 'signing_secrets: ["${env:SIGNING}"]'
MISTAKES = {
    "secrets is no list": (TOKEN, f"secrets: {MISPLACED}"),
    "secrets is a mapping": (TOKEN, f"secrets: {{key: {MISPLACED}}}"),
    "a mapping": (TOKEN, f"secrets: [{{key: {MISPLACED}}}]"),
    "a list in a list": (TOKEN, f"secrets: [[{MISPLACED}]]"),
    "half a reference": ('"${env:SECRET_token}"', f'"${{env:SECRET_token}}{MISPLACED}"'),
    "no reference": ('"${env:SECRET_token}"', f'"${{vault:{MISPLACED}}}"'),
    "a literal": ('"${env:SECRET_token}"', MISPLACED),
    "a literal with blanks": ('"${env:SECRET_token}"', f'" {MISPLACED} "'),
    "a quote that does not end": ('"${env:SECRET_token}"', f'"{MISPLACED}'),
    "a tag": ('"${env:SECRET_token}"', f"!secret {MISPLACED}"),
    "an alias": ('"${env:SECRET_token}"', f"*{MISPLACED}"),
    "a tab": (TOKEN, f"secrets:\t[{MISPLACED}\t"),
    "no public key": (RSA, f"secrets: [{MISPLACED}]"),
    "a broken public key": (
        RSA,
        f'secrets: ["-----BEGIN PUBLIC KEY-----\\n{MISPLACED}\\n-----END PUBLIC KEY-----"]',
    ),
    "no Base64": (HMAC, f'"whsec_{MISPLACED}!"'),
    "the token is a list": (ADMIN_TOKEN, f"token: [{MISPLACED}]"),
    "the token is twice": (ADMIN_TOKEN, f"token: {MISPLACED}, token: {MISPLACED}"),
    "the token has another name": (ADMIN_TOKEN, f"tokens: {MISPLACED}"),
    "signing is no list": (SIGNED, f"signing_secrets: {MISPLACED}"),
    "signing is no Base64": (SIGNED, f'signing_secrets: ["whsec_{MISPLACED}"]'),
    "a user in a URL": ('url: "http://', f'url: "http://me:{MISPLACED}@'),
    "no key of the spool": ("limits:", f"spool: {{encrypt: ['{MISPLACED}']}}\nlimits:"),
    "keys of the spool are no list": ("limits:", f"spool: {{encrypt: {MISPLACED}}}\nlimits:"),
    "a database": (
        "limits:",
        f"spool: {{kind: postgres, dsn: 'postgres://me:{MISPLACED}@h/d'}}\nlimits:",
    ),
}


async def make_mistakes(watched: Watched, directory: Path) -> None:
    """Check every mistake, and let the running relay read some of them."""
    right_text = watched.config.read_text()
    # No mistake, and shown nowhere all the same: some services want their key in the URL.
    keyed = directory / "keyed.yaml"
    keyed.write_text(right_text.replace("/hooks", f"/hooks?key={MISPLACED}"))
    for form in ("text", "json"):
        code, _ = await watched.command("check", "--format", form, config=keyed)
        assert code == 0
    watched.config.write_text(keyed.read_text())
    await watched.ask("POST", "/-/reload", {"Authorization": f"Bearer {ADMIN}"})
    for number, (right, wrong) in enumerate(MISTAKES.values()):
        assert right in right_text, right
        broken = directory / f"{number}.yaml"
        broken.write_text(right_text.replace(right, wrong))
        for words in (("check", "--strict"), ("check", "--strict", "--format", "json")):
            code, _ = await watched.command(*words, config=broken)
            assert code != 0, wrong
        watched.config.write_text(broken.read_text())
        await watched.ask("POST", "/-/reload", {"Authorization": f"Bearer {ADMIN}"})
    watched.config.write_text(right_text)


async def refused(watched: Watched, number: int) -> None:
    """Return once so many refusals are kept; they are written behind."""
    async with asyncio.timeout(30):
        while True:
            _, output = await watched.command("refusals", "list", "--format", "json")
            if len(orjson.loads(output)["refusals"]) >= number:
                return


@pytest.mark.proof
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("log_format", "debug"), [("json", False), ("text", True)])
async def test_no_secret_is_written_anywhere(
    log_format: str, debug: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    apart = tmp_path_factory.mktemp("mistakes")
    async with (
        Upstream(answer(500), close, answer(200)) as stored,
        Upstream() as asked,
        StatusApi() as status_api,
    ):
        config = tmp_path / "relay.yaml"
        config.write_text(configuration(stored.url, asked.url, status_api.url))
        async with Watched(config, log_format, debug) as watched:
            sent = list(requests(watched))
            for raw in sent:
                reply = await exchange(watched.public, raw)
                watched.seen.append(("an answer", reply.head.encode() + reply.body))
            await stored.has_received(len(DESCRIBED))
            await refused(watched, 5)
            watched.keep_files("while it runs")
            await look_at_everything(watched)
            if log_format == "json":
                await run_every_command(watched, sent, apart)
                await make_mistakes(watched, apart)
            watched.send_signal(signal.SIGHUP)
            # Answered when that is done, and this too: nothing computes any more.
            await watched.ask("POST", "/-/reload", {"Authorization": f"Bearer {ADMIN}"})
            await watched.end()
    watched.seen += [
        ("what an upstream received", each.head + each.body)
        for each in (*stored.received, *asked.received)
    ]
    assert [each for each in found(SECRETS, watched.seen) if not kept_as_it_came(each)] == []
    for name in KEPT:
        assert f"{name} in relay.db" in " ".join(found(SECRETS, watched.seen)), name
    # What is no secret is found where it should be, so the search looked there.
    places = " ".join(found([("it", CLIENT)], watched.seen))
    for place in ("relay.db", "the log", "GET /events/", "GET /api/v1/refusals/", "events show"):
        assert place in places, place


def kept_as_it_came(said: str) -> bool:
    """Tell whether this is of a kept refusal, which a release may need: all that was signed."""
    return said.startswith(tuple(f"{name} in relay.db" for name in KEPT))
