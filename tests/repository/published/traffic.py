"""What a running relay answers, sends on, counts and logs, seen from outside."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import trustme
from dnslib import DNSRecord

from tests.harness.nameserver import BrokenNameserver, Transport, answers_code, gives
from tests.harness.upstream import (
    Behaviour,
    RefusingPort,
    Upstream,
    answer,
    close,
    hang,
    says,
    status_of,
)
from tests.harness.wire import Reply, exchange, request
from tests.repository.published.reading import (
    answer_text,
    described,
    header_fields,
    logging_calls,
    metric_names,
)
from tests.repository.published.relay import Commands, Running
from tests.repository.published.senders import (
    ALLOWED,
    FORWARDED,
    MIDTRANS_KEY,
    PRIVATE_PEM,
    PUBLIC_PEM,
    SENDERS,
    STRANGER,
    Message,
    Sender,
    situations,
)
from tests.repository.published.shapes import shape

TOKEN = "a-token-of-the-recorder"
_SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

#: One sender of each kind, for what takes time.
_LEADING = frozenset({"midtrans", "snap-debit", "vipps", "vipps-ecom", "inline"})

#: A host name that can be resolved, and an endpoint that is given the right key later.
_KNOWN, _LATE = "known.test", "midtrans-late"

#: Fields of every log line; events whose lines come whatever happens.
_IN_EVERY_LINE = frozenset({"time", "level", "event"})
_TYPED = frozenset({"delivery", "attempt"})

#: What an upstream of a proxied endpoint says, and what it is called here.
_PROXIED: tuple[tuple[str, Behaviour], ...] = (
    ("200 text", answer(200, (("Content-Type", "text/plain"), ("X-Own", "1")), b"fine")),
    ("200 json", answer(200, (("Content-Type", "application/json"),), b'{"a": 1}')),
    ("200 empty", answer(200)),
    ("204", answer(204)),
    ("302", answer(302, (("Location", "/elsewhere"),), b"gone")),
    ("404 text", answer(404, (("Content-Type", "text/plain"),), b"unknown")),
    ("500", answer(500, (), b"broken")),
    ("no answer", hang),
    ("a broken connection", close),
)


class Traffic:
    """One relay with endpoints for every kind of sender, and what it was seen to do.

    answers, forwarded, admin: what was seen, by what was done; texts, to be compared.
    """

    def __init__(self, commands: Commands, directory: Path, python: str) -> None:
        self._commands = commands
        self._directory = directory
        self._running = Running(python, directory / "relay.yaml")
        self._replies: list[tuple[str, Reply]] = []
        self._told = 0
        self._messages: dict[str, list[Message]] = {}
        self.answers: dict[str, str] = {}
        self.forwarded: dict[str, list[str]] = {}
        self.admin: dict[str, object] = {}
        self.metrics: dict[str, object] = {}
        #: A request that would be accepted.
        self.genuine = b""
        self.exit_code = -1

    async def pass_through(self) -> None:
        """Do all of it."""
        async with (
            Upstream() as self._upstream,
            Upstream() as self._proxied,
            Upstream() as self._api,
            Upstream() as self._denying_api,
            BrokenNameserver() as self._names,
        ):
            self._names.on["A"] = _resolve
            with RefusingPort() as self._nowhere:
                await self._prepare()
                async with self._running:
                    await self._ask()
        self._look_at_what_arrived()

    async def _ask(self) -> None:
        await self._running.has_said("allowlist_changed")
        for sender in SENDERS:
            await self._ask_everything(sender)
            await self._ask_proxied(sender)
        await self._ask_midtrans()
        await self._reconcile()
        await self._ask_strangely()
        await self._has_delivered()
        await self._repeat_what_is_held()
        await self._administrate()
        await self._ask_while_nothing_can_be_stored()
        self.exit_code = await self._running.stop()

    async def _has_delivered(self) -> None:
        """Return when all was tried that was taken or reconciled."""
        taken = [
            line
            for line in self._running.said("delivery")
            if line["verdict"] == "accepted" and "unrouted" not in line
        ]
        # The test message of the dashboard goes no further; one event was reconciled.
        await self._running.has_said("attempt", len(taken))

    async def _repeat_what_is_held(self) -> None:
        """Send a message again whose event is held: that is tried once more."""
        tried, message = len(self._running.said("attempt")), self._messages[SENDERS[0].name][1]
        await self._send("midtrans, denied again", SENDERS[0].at("denied", message).raw)
        await self._verdicts()
        await self._running.has_said("attempt", tried + 1)

    # ---- the messages, and the relay ------------------------------------------------------------

    async def _prepare(self) -> None:
        certificate = trustme.CA().issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(self._directory / "chain.pem")
        certificate.private_key_pem.write_to_path(self._directory / "key.pem")
        (self._directory / "public.pem").write_bytes(PUBLIC_PEM)
        (self._directory / "private.pem").write_bytes(PRIVATE_PEM)
        (self._directory / "relay.yaml").write_text(self._configuration())
        github = Path(__file__).parents[3] / "config/senders/github.yaml"
        (self._directory / "github.yaml").write_text(github.read_text())
        async with Upstream() as sink:
            for sender in SENDERS:
                self._messages[sender.name] = [
                    await self._sample(sink, sender),
                    await self._sample(sink, sender),
                ]
        self.genuine = self._messages["midtrans"][0].raw

    async def _sample(self, sink: Upstream, sender: Sender, *words: str) -> Message:
        """Have `relay send` sign a message."""
        to = f"{sink.url}{sender.path}"
        more = (*sender.words, *words, "--from", ALLOWED)
        done = await self._commands.run("send", sender.provider, "--to", to, *more)
        assert done.code == 0, done
        sent = sink.received[-1]
        kept = [each for each in sent.headers if each[0].lower() != "content-length"]
        return Message(sent.method, sent.target, tuple(kept), sent.body)

    def _configuration(self) -> str:
        endpoints = []
        for sender in {sender.path: sender for sender in SENDERS}.values():
            name = sender.path.strip("/")
            kept = "proxy" if sender.name == "vipps-express" else "store"
            endpoints += [
                _endpoint(sender, name, "billing", mode=kept),
                _endpoint(sender, f"{name}-unresolved", "billing", "unknown.test", mode=kept),
                _endpoint(sender, f"{name}-proxied", "accounting", mode="proxy"),
            ]
        midtrans = SENDERS[0]
        confirm = f', confirm: {{url: "{self._api.url}"}}'
        denied = f', confirm: {{url: "{self._denying_api.url}"}}'
        routed = ', routes: [{when: {json: /status_code, is: "200"}, upstreams: []}]'
        endpoints += [
            _endpoint(midtrans, "midtrans-routed", "billing", more=routed),
            _endpoint(midtrans, "midtrans-confirmed", "billing", more=confirm),
            _endpoint(midtrans, "midtrans-denied", "billing", more=denied),
            _endpoint(midtrans, "midtrans-missed", "billing", more=confirm),
            _endpoint(midtrans, "midtrans-resolved", "billing", _KNOWN),
            _endpoint(midtrans, "midtrans-reported", "billing", enforcing="report"),
            _endpoint(midtrans, "midtrans-waiting", "nowhere"),
            _endpoint(midtrans, _LATE, "billing").replace(MIDTRANS_KEY, "another-key"),
        ]
        return f"""
listen:
  - {{bind: "127.0.0.1:0"}}
  - {{bind: "127.0.0.1:0", proxy_protocol: true}}
  - {{bind: "127.0.0.1:0", tls: {{certificate: chain.pem, key: key.pem}}}}
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: {TOKEN}}}
spool: {{path: relay.db}}
dns: {{nameservers: ["127.0.0.1:{self._names.port}"], timeout: 5s}}
limits: {{body: 16KiB, header_timeout: 500ms, body_timeout: 300ms, answer_within: 1500ms}}
shutdown_grace: 2s
upstreams:
  billing: {{url: "{self._upstream.url}/hooks", signing_secrets: ["{_SIGNING}"]}}
  accounting: {{url: "{self._proxied.url}/hooks", timeout: 1s}}
  nowhere: {{url: "{self._nowhere}", retry: {{schedule: [1h]}}}}
endpoints:
{chr(10).join(endpoints)}
"""

    # ---- what senders are answered --------------------------------------------------------------

    async def _send(self, what: str, raw: bytes, *, listener: int = 0) -> None:
        """Send this; what was answered waits for the log to tell the verdict."""
        self._replies.append((what, await exchange(self._running.public[listener], raw)))

    async def _verdicts(self) -> None:
        """Keep what was answered since the last time, with the verdicts that the log tells."""
        lines = await self._running.has_said("delivery", self._told + len(self._replies))
        for (what, reply), line in zip(self._replies, lines[self._told :], strict=True):
            assert reply.status in {0, line["status"]}, what
            self.answers[what] = answer_text(reply, line)
        self._told += len(self._replies)
        self._replies.clear()

    async def _ask_everything(self, sender: Sender) -> None:
        first, second = self._messages[sender.name]
        for what, message in situations(sender, first, second):
            await self._send(f"{sender.name}: {what}", message.raw)
        unresolved = sender.at("unresolved", second)
        await self._send(f"{sender.name}: addresses not known yet", unresolved.raw)
        await self._verdicts()

    async def _ask_proxied(self, sender: Sender) -> None:
        message = sender.at("proxied", self._messages[sender.name][1])
        for what, behaviour in _PROXIED:
            if behaviour is hang and sender.name not in _LEADING:
                continue
            self._proxied.behave(behaviour)
            await self._send(f"{sender.name}, proxied: {what}", message.raw)
        await self._verdicts()

    async def _ask_midtrans(self) -> None:
        """Send what shows on other endpoints and in other orders."""
        midtrans = SENDERS[0]
        message = self._messages[midtrans.name][1]
        self._api.behave(says(status_of(message.body)))
        self._denying_api.behave(says(status_of(message.body, gross_amount="1.00")))
        for name in ("confirmed", "denied", "resolved", "routed", "waiting", "late"):
            await self._send(f"midtrans, {name}", midtrans.at(name, message).raw)
        reported = midtrans.at("reported", message).having(FORWARDED, STRANGER)
        await self._send("midtrans, reported", reported.raw)
        payment = ("--set", "order_id=o-1", "--set", "transaction_id=t-1")
        orders = [
            (*payment, "--set", "transaction_status=settlement"),
            (*payment, "--set", "transaction_status=pending"),
            ("--set", "order_id=payment_notif_test_M1_1"),
        ]
        async with Upstream() as sink:
            for changes in orders:
                message = await self._sample(sink, midtrans, *changes)
                await self._send(f"midtrans, {changes[-1]}", message.raw)
        await self._verdicts()

    async def _reconcile(self) -> None:
        """Have `relay reconcile` store what an endpoint was never sent."""
        body = json.loads(self._messages[SENDERS[0].name][1].body)
        (self._directory / "orders.txt").write_text(body["order_id"])
        words = ("orders.txt", "--endpoint", "midtrans-missed")
        done = await self._commands.run("reconcile", *words)
        assert done.code == 0, done

    async def _ask_strangely(self) -> None:
        await self._send("head cut off", b"POST / HTTP/1.1\r\nHost:")
        await self._send("no HTTP", b"\x16\x03\x01 not HTTP\r\n\r\n")
        await self._send("two lengths", request("POST", "/midtrans", [("Content-Length", "1, 2")]))
        await self._send("no PROXY header", request("GET", "/midtrans"), listener=1)
        await self._send("POST /healthz", request("POST", "/healthz"))
        await self._verdicts()
        # Health checks are not logged.
        reply = await exchange(self._running.public[0], request("GET", "/healthz"))
        self.answers["GET /healthz"] = answer_text(reply, {})

    async def _ask_while_nothing_can_be_stored(self) -> None:
        with closing(sqlite3.connect(self._directory / "relay.db", isolation_level=None)) as spool:
            spool.execute("BEGIN EXCLUSIVE")
            senders = [each for each in SENDERS if each.name in _LEADING]
            await asyncio.gather(*map(self._send_in_vain, senders))
            # All at once, for each waits; the log tells which is which.
            lines = await self._running.has_said("delivery", self._told + len(senders))
            order = [line["endpoint"] for line in lines[self._told :]]
            self._replies.sort(key=lambda each: order.index(each[0].partition(":")[0]))
            await self._verdicts()
            spool.execute("ROLLBACK")

    async def _send_in_vain(self, sender: Sender) -> None:
        what = f"{sender.path.strip('/')}: spool does not answer"
        await self._send(what, self._messages[sender.name][1].raw)

    # ---- what arrived upstream ------------------------------------------------------------------

    def _look_at_what_arrived(self) -> None:
        seen: dict[str, set[str]] = {}
        for upstream in (self._upstream, self._proxied):
            for each in upstream.received:
                (endpoint,) = each.values("Relay-Endpoint")
                target = re.sub(r"[\w-]{20,}", "ID", each.target)
                names = {f"{each.method} {target}", *(name for name, _ in each.headers)}
                seen.setdefault(endpoint, set()).update(names)
        asked = {name for each in self._api.received for name, _ in each.headers}
        seen["status API of midtrans"] = asked | {"GET /v2/ID/status"}
        self.forwarded = {name: sorted(names) for name, names in sorted(seen.items())}

    # ---- the admin listener ---------------------------------------------------------------------

    async def _administrate(self) -> None:
        event = await self._first("events", "?endpoint=midtrans&status=delivered")
        refusal = await self._first("refusals", "?endpoint=midtrans")
        late = await self._first("refusals", f"?endpoint={_LATE}")
        for path in (
            *("/livez", "/readyz", "/", "/events", "/login", "/nowhere"),
            *("/api/v1/events", f"/api/v1/events/{event}", "/api/v1/events/none"),
            *("/api/v1/refusals", f"/api/v1/refusals/{refusal}", "/api/v1/allowlist"),
            *("/api/v1/status", "/api/v1/audit"),
        ):
            await self._keep("GET", path)
            await self._keep("GET", path, token=False)
        for path in (
            *(f"/api/v1/events/{event}/requeue", "/api/v1/events/none/requeue"),
            *(f"/api/v1/refusals/{refusal}/release", "/api/v1/refusals/none/release"),
        ):
            await self._keep("POST", path, token=False)
            await self._keep("POST", path)
        await self._keep("GET", "/api/v1/events?status=none")
        await self._reload()
        for _ in range(2):
            await self._keep("POST", f"/api/v1/refusals/{late}/release")
        metrics = await self._admin("GET", "/metrics")
        self.admin["GET /metrics, header fields"] = header_fields(metrics)
        self.admin["GET /, header fields"] = header_fields(await self._admin("GET", "/"))
        self.metrics = metric_names(metrics.body.decode())

    async def _first(self, kind: str, query: str) -> str:
        """Return the id of the newest one, as soon as there is one: they are kept in batches."""
        async with asyncio.timeout(20):
            while True:
                found = json.loads((await self._admin("GET", f"/api/v1/{kind}{query}")).body)
                if found[kind]:
                    return str(found[kind][0]["id"])

    async def _reload(self) -> None:
        config = self._directory / "relay.yaml"
        text = config.read_text()
        for what, wrong in (
            ("a mistake", text.replace("shutdown_grace", "shutdown_gracf")),
            ("a restart needed", text.replace("relay.db", "other.db")),
        ):
            config.write_text(wrong)
            reply = await self._admin("POST", "/-/reload")
            self.admin[f"POST /-/reload, {what}"] = described(reply)
        config.write_text(text.replace("another-key", MIDTRANS_KEY))
        await self._keep("POST", "/-/reload")

    async def _admin(self, method: str, path: str, *, token: bool = True) -> Reply:
        fields = [("Host", "localhost")]
        fields += [("Authorization", f"Bearer {TOKEN}")] * token
        return await exchange(self._running.admin, request(method, path, fields))

    async def _keep(self, method: str, path: str, *, token: bool = True) -> None:
        reply = await self._admin(method, path, token=token)
        name = re.sub(r"\w*[0-9a-f-]{30,}", "ID", path)
        said = f"{method} {name}" + ("" if token else ", no token")
        self.admin[f"{said}: {reply.status}"] = described(reply)

    # ---- the log --------------------------------------------------------------------------------

    def log(self) -> dict[str, str]:
        """Return levels and fields of each event: those seen, and those in calls not reached.

        The lines that everybody reads are told with the types of their fields.
        """
        levels: dict[str, set[str]] = {}
        fields: dict[str, set[str]] = {}
        for event, level, names in logging_calls(self._commands.package):
            levels.setdefault(event, set()).add(level)
            fields.setdefault(event, set()).update(names)
        for line in self._running.lines:
            event = line["event"]
            levels.setdefault(event, set()).add(line["level"])
            said = {name: value for name, value in line.items() if name not in _IN_EVERY_LINE}
            typed = [f"{name}={shape(value)}" for name, value in said.items()]
            fields.setdefault(event, set()).update(typed if event in _TYPED else said)
        return {
            event: f"{' '.join(sorted(levels[event]))}: {' '.join(sorted(fields[event]))}"
            for event in sorted(fields)
        }


def _endpoint(
    sender: Sender,
    name: str,
    upstream: str,
    allowed: str = f"{ALLOWED}/32",
    *,
    mode: str = "store",
    enforcing: str = "enforce",
    more: str = "",
) -> str:
    """Return one endpoint in YAML; the part of its name behind a dash leads its path."""
    _, dash, prefix = name.partition("-")
    path = f"/{prefix}{sender.path}" if dash else sender.path
    return (
        f"  - {{name: {name}, path: {path}, upstream: {upstream}, mode: {mode},"
        f' allowlist: {{mode: {enforcing}, replace: ["{allowed}"]}}, {sender.endpoint}{more}}}'
    )


def _resolve(asked: DNSRecord, transport: Transport) -> Sequence[bytes]:
    # Resolvers mix the case of what they ask.
    known = str(asked.q.qname).lower().startswith(_KNOWN)
    return (gives(ALLOWED) if known else answers_code("SERVFAIL"))(asked, transport)
