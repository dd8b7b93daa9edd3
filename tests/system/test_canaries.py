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
from relay.clock import SystemClock
from relay.providers import SampleOrder
from relay.secret import Secret
from tests.harness.canaries import forms, found
from tests.harness.statusapi import StatusApi
from tests.harness.upstream import Upstream, answer, close
from tests.harness.wire import Reply, exchange, request
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
#: What somebody else uses, and sends here by mistake.
MISPLACED = "canary-misplaced-token-51c0"


def line_of(key: Secret) -> str:
    """Return a secret, or of a private key in PEM the last whole line."""
    *_, line = [line for line in key.reveal().decode().splitlines() if not line.startswith("--")]
    return line


SECRETS = [
    ("the admin token", ADMIN),
    ("the signing secret", SIGNING),
    ("the signing key", SIGNING_KEY),
    ("a misplaced token", MISPLACED),
    *(
        (f"the secret of {name}", pair.verifying)
        for name, pair in KEYS.items()
        if name not in PUBLIC
    ),
    *((f"the key that signs for {name}", line_of(pair.signing)) for name, pair in KEYS.items()),
    *((f"a forger's key of {name}", line_of(pair.forged)) for name, pair in KEYS.items()),
]


def test_the_search_knows_every_form() -> None:
    secret = "canary/with+odd=signs:1"
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
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    log: bytearray = field(default_factory=bytearray)
    public: tuple[str, int] = ("", 0)
    admin: tuple[str, int] = ("", 0)

    @property
    def environ(self) -> dict[str, str]:
        return {**ENVIRON, "ADMIN": ADMIN, "SIGNING": SIGNING, "PATH": "/usr/bin:/bin"}

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
        """Stop as an operator does, and keep the log and the files."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await self._process.wait() == 0
            self.log += await self._rest
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
        assert result.exception is None or isinstance(result.exception, SystemExit), words
        output = result.stdout_bytes
        self.seen.append((f"relay {' '.join(words)}", output + result.stderr_bytes))
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
            # What was meant for somebody else, in the places where tokens stand.
            lost = [("Authorization", f"Bearer {MISPLACED}"), ("X-Token", MISPLACED)]
            for sample, client, more, body in (
                (genuine, CLIENT, (), genuine.body),
                (genuine, CLIENT, (), genuine.body),
                (forged, CLIENT, (), forged.body),
                (genuine, STRANGER, (), genuine.body),
                (genuine, "nobody", (), genuine.body),
                (genuine, CLIENT, (), genuine.body[:-1]),
                (genuine, CLIENT, (), bytes(17_000)),
                (None, CLIENT, lost, genuine.body),
                (None, CLIENT, (), genuine.body),
            ):
                fields = [("Host", host), *(sample.headers if sample else ()), *more]
                target = f"/{mode}/{name}{genuine.suffix}"
                yield request(genuine.method, target, [*fields, ("X-Forwarded-For", client)], body)
    yield request("POST", "/nowhere", [("Authorization", f"Bearer {MISPLACED}")], b"{}")
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
        await watched.ask("POST", f"/api/v1/{kind}/{ids[0]}/{what}", bearer)
        assert (await watched.command(kind, "list", "--format", "json"))[0] == 0
        for form_of in ("text", "json"):
            await watched.command(kind, "show", ids[0], "--format", form_of)
    assert (await watched.ask("GET", "/api/v1/allowlist", bearer)).status == 200
    await watched.ask("POST", "/-/reload", bearer)


async def run_every_command(watched: Watched, captures: list[bytes]) -> None:
    for words in (
        ("check",),
        ("check", "--format", "json"),
        *(("providers", "show", name) for name in ("midtrans", "vipps", "vipps-callback")),
        ("providers", "list"),
        ("allowlist", "show"),
        ("allowlist", "check", STRANGER),
        ("schema",),
        ("version",),
        ("migrate",),
        ("nonsense",),
    ):
        await watched.command(*words)
    # One of each kind that holds a token or goes to an endpoint of one, and some of the others.
    for raw in (*captures[::11], *(each for each in captures if b" /store/token" in each)):
        await watched.command("explain", "-", "--peer", "127.0.0.1", given=raw)
    secret = KEYS["midtrans"].verifying
    to = "http://{}:{}/store/midtrans".format(*watched.public)
    await watched.command("send", "midtrans", "--to", to, "--secret", secret, "--from", CLIENT)
    await watched.command("send", "midtrans", "--to", "nowhere", "--secret", secret)


#: Where a secret is written out, and where it does not belong: what is said must not repeat it.
MISTAKES = {
    "secrets is no list": ('secrets: ["${env:SECRET_token}"]', f"secrets: {MISPLACED}"),
    "a mapping": ('secrets: ["${env:SECRET_token}"]', f"secrets: [{{key: {MISPLACED}}}]"),
    "half a reference": ('"${env:SECRET_token}"', f'"${{env:SECRET_token}}{MISPLACED}"'),
    "a literal": ('"${env:SECRET_token}"', MISPLACED),
    "the token is a list": ('token: "${env:ADMIN}"', f"token: [{MISPLACED}]"),
    "signing is no list": ('signing_secrets: ["${env:SIGNING}"]', f"signing_secrets: {MISPLACED}"),
}


async def make_mistakes(watched: Watched, directory: Path) -> None:
    for number, (right, wrong) in enumerate(MISTAKES.values()):
        text = watched.config.read_text()
        assert right in text
        broken = directory / f"{number}.yaml"
        broken.write_text(text.replace(right, wrong))
        code, _ = await watched.command("check", config=broken)
        assert code != 0


async def refused(watched: Watched, number: int) -> None:
    """Return once so many refusals are kept; they are written behind."""
    async with asyncio.timeout(30):
        while True:
            _, output = await watched.command("refusals", "list", "--format", "json")
            if len(orjson.loads(output)["refusals"]) >= number:
                return


@pytest.mark.timeout(180)
@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_no_secret_is_written_anywhere(
    log_format: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    apart = tmp_path_factory.mktemp("mistakes")
    async with (
        Upstream(answer(500), close, answer(200)) as stored,
        Upstream() as asked,
        StatusApi() as status_api,
    ):
        config = tmp_path / "relay.yaml"
        config.write_text(configuration(stored.url, asked.url, status_api.url))
        async with Watched(config, log_format) as watched:
            sent = list(requests(watched))
            for raw in sent:
                reply = await exchange(watched.public, raw)
                watched.seen.append(("an answer", reply.head.encode() + reply.body))
            await stored.has_received(len(DESCRIBED))
            await refused(watched, 5)
            watched.keep_files("while it runs")
            await look_at_everything(watched)
            if log_format == "json":
                await run_every_command(watched, sent)
                await make_mistakes(watched, apart)
            watched.send_signal(signal.SIGHUP)
            await watched.ask("GET", "/livez")
            await watched.end()
    watched.seen += [
        ("what an upstream received", each.head) for each in (*stored.received, *asked.received)
    ]
    assert found(SECRETS, watched.seen) == []
    # What is no secret is found where it should be, so the search looked there.
    places = " ".join(found([("it", CLIENT)], watched.seen))
    for place in ("relay.db", "the log", "GET /events/", "GET /api/v1/refusals/", "events show"):
        assert place in places, place
