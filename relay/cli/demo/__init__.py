"""`relay demo`: receive, verify and deliver sample messages on one machine, without configuration.

A real relay with a temporary spool runs between a sender that signs as the providers do and an
upstream that records what arrives. Everything is on loopback. The sender's addresses are given in
X-Forwarded-For, as by a load balancer, and those of Vipps come from a small DNS server here.
"""

import asyncio
import io
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from relay.app.runtime import Addresses, App
from relay.cli import process
from relay.cli.demo.services import Nameserver, Pair, Sink, asymmetric, shared, standard_webhooks
from relay.cli.output import (
    print_table,
)
from relay.cli.progress import progress
from relay.cli.send import post
from relay.config import load_text, provider_of
from relay.core.clock import SystemClock
from relay.core.request import Headers
from relay.core.secret import Secret
from relay.explain.refusal import explain_refusal
from relay.providers import Provider, Sample, SampleOrder
from relay.telemetry.log import Log, LogWriter

# ---- the scenario ---------------------------------------------------------------------------

#: An address that no provider lists (TEST-NET-3, RFC 5737).
_STRANGER = "203.0.113.66"

#: Seconds until an event that has not arrived at its upstream counts as lost.
_ARRIVAL_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class DemoEndpoint:
    """One endpoint of the demo, with the signer, address and keys of its provider."""

    provider: str
    signer: Provider
    url: str
    client: str
    keys: Pair


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one message. `arrived`: how often. `expected`: status and arrivals."""

    provider: str
    sent: str
    client: str
    status: int
    arrived: int
    expected: tuple[int, int]

    @property
    def went_well(self) -> bool:
        return (self.status, self.arrived) == self.expected


@dataclass(frozen=True, slots=True)
class _Message:
    target: DemoEndpoint
    sent: str
    client: str
    sample: Sample
    expected: tuple[int, int]


async def play(targets: Sequence[DemoEndpoint], sink: Sink) -> list[Row]:
    """Send all messages, wait for the expected arrivals, and return the results."""
    messages = [message for target in targets for message in _messages(target)]
    answers = []
    with progress("sent", len(messages)) as counter:
        for each in messages:
            answers.append(await post(each.target.url, each.sample, each.client))
            counter.add()
    wanted = {each.sample.body for each in messages if each.expected[1]}
    await sink.wait_for(len(wanted), _ARRIVAL_TIMEOUT)
    return [
        Row(
            provider=each.target.provider,
            sent=each.sent,
            client=each.client,
            status=answer.status,
            arrived=sink.count(each.sample.body),
            expected=each.expected,
        )
        for each, answer in zip(messages, answers, strict=True)
    ]


def _messages(target: DemoEndpoint) -> list[_Message]:
    def sample(key: Secret) -> Sample:
        return target.signer.sample(SampleOrder(target.url, key, SystemClock().now()))

    genuine, unknown = sample(target.keys.signing), sample(target.keys.signing)
    forged, unsigned = sample(target.keys.forged), _unsigned(sample(target.keys.signing))
    return [
        _Message(target, "genuine", target.client, genuine, (200, 1)),
        _Message(target, "the same again", target.client, genuine, (200, 1)),
        _Message(target, "forged signature", target.client, forged, (401, 0)),
        _Message(target, "unknown address", _STRANGER, unknown, (403, 0)),
        _Message(target, "unsigned", target.client, unsigned, (401, 0)),
    ]


def _unsigned(sample: Sample) -> Sample:
    """Return the sample without its signature, wherever the provider puts that."""
    body = sample.body.replace(b'"signature_key"', b'"no_signature"')
    signatures = {"authorization", "x-signature", "webhook-signature"}
    kept = tuple(item for item in sample.headers if item[0].lower() not in signatures)
    return Sample(sample.method, sample.suffix, Headers(kept), body)


# ---- the relay of the demo ------------------------------------------------------------------

_TOKEN = "RELAY_DEMO_TOKEN"  # noqa: S105 - the name of a variable

_CONFIGURATION = """
listen:
  - bind: "127.0.0.1:0"
trusted_proxies: ["127.0.0.1/32"]
admin: {{bind: "127.0.0.1:0", token: "${{env:{token}}}"}}
spool: {{path: relay.db}}
dns: {{nameservers: ["127.0.0.1:{dns_port}"]}}
upstreams:
  sink: {{url: "{sink_url}", timeout: 5s}}
endpoints:{endpoints}
"""

_ENDPOINT = """
  - name: {name}
    path: /{name}
    provider: {provider}
    environment: production
    secrets: ["${{env:{variable}}}"]
    upstream: sink"""

# As config/senders/standard-webhooks.yaml, and with addresses (TEST-NET-1, RFC 5737).
_DESCRIBED = """
      name: standard-webhooks
      networks: {production: {cidrs: ["192.0.2.0/24"]}}
      signature:
        scheme: hmac
        secret_encoding: base64
        strip_prefix: "whsec_"
        from: {header: webhook-signature}
        format: "v1,{signature}"
        encoding: base64
        signed: "{header:webhook-id}.{timestamp}.{body}"
        timestamp: {from: {header: webhook-timestamp}, unit: s}
      event_key: {header: webhook-id}"""


@dataclass(frozen=True, slots=True)
class _Sender:
    """A provider in the demo: the address that it sends from, and how its keys are made.

    The addresses are one that Midtrans lists, one that the demo's DNS server returns for the
    callback hosts of Vipps (an example in the Vipps documentation), and one of the block above.

    described: the block of YAML that describes it; empty for a built-in provider.
    """

    client: str
    keys: Callable[[], Pair]
    described: str = ""


_VIPPS_CLIENT = "104.45.17.199"
_SENDERS = {
    "midtrans": _Sender("103.208.23.6", shared),
    "midtrans-snap": _Sender("13.228.166.126", asymmetric),
    "vipps": _Sender(_VIPPS_CLIENT, shared),
    "vipps-callback": _Sender(_VIPPS_CLIENT, shared),
    "standard-webhooks": _Sender("192.0.2.10", standard_webhooks, _DESCRIBED),
}


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo, and the results of its scenario."""

    rows: tuple[Row, ...]
    admin_url: str
    token: str
    public_url: str

    @property
    def went_well(self) -> bool:
        return all(row.went_well for row in self.rows)


@asynccontextmanager
async def running(log: Log) -> AsyncIterator[Demo]:
    """Start all parts and run the scenario; the relay keeps running within the context."""
    token = secrets.token_urlsafe(16)
    pairs = {name: sender.keys() for name, sender in _SENDERS.items()}
    environ = {_variable(name): pair.verifying for name, pair in pairs.items()}
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as directory:
        async with Sink() as sink, Nameserver([_VIPPS_CLIENT]) as nameserver:
            text = _CONFIGURATION.format(
                token=_TOKEN,
                dns_port=nameserver.port,
                sink_url=sink.url,
                endpoints="".join(map(_endpoint, pairs)),
            )
            settings = load_text(text, "demo", {_TOKEN: token, **environ}, Path(directory))
            stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
            app = App(settings, log=log, clock=SystemClock(), explain_refusal=explain_refusal)
            async with asyncio.TaskGroup() as group:
                group.create_task(app.serve(stop, started.set_result))
                try:
                    addresses: Addresses = await started
                    public_url = "http://{}:{}".format(*addresses.public[0])
                    targets = [
                        DemoEndpoint(
                            each.name,
                            provider_of(each),
                            f"{public_url}{each.path}",
                            _SENDERS[each.name].client,
                            pairs[each.name],
                        )
                        for each in settings.endpoints
                    ]
                    rows = await play(targets, sink)
                    admin_url = "http://{}:{}/".format(*addresses.admin)
                    yield Demo(tuple(rows), admin_url, token, public_url)
                finally:
                    stop.set()


def _endpoint(name: str) -> str:
    return _ENDPOINT.format(
        name=name, provider=_SENDERS[name].described or name, variable=_variable(name)
    )


def _variable(provider: str) -> str:
    """Return the name of the variable that holds a provider's secret."""
    return f"RELAY_DEMO_{provider.upper().replace('-', '_')}"


# ---- the verb -------------------------------------------------------------------------------


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit when done: 0 when all went as it should, else 1.")
    ] = False,
) -> None:
    """Run a relay, a sender and a receiver on this machine, and show what becomes of messages.

    Example: relay demo --once
    """
    # The log of the demo is its table.
    writer = LogWriter(io.BytesIO())
    went_well = asyncio.run(_play(Log(writer, SystemClock()), stay=not once))
    writer.close()
    sys.exit(0 if went_well else 1)


async def _play(log: Log, *, stay: bool) -> bool:
    async with running(log) as played:
        print_table(
            ("provider", "sent", "from", "answered", "arrived upstream", ""),
            [
                (
                    row.provider,
                    row.sent,
                    row.client,
                    row.status,
                    _times(row.arrived),
                    "ok" if row.went_well else f"expected {row.expected[0]}",
                )
                for row in played.rows
            ],
        )
        if stay:
            sys.stdout.write(
                f"\nStill running, on {played.public_url}."
                f"\nEvents page: {played.admin_url}  token: {played.token}"
                "\nStop with Ctrl-C; the spool is deleted then.\n"
            )
            sys.stdout.flush()
            stop = asyncio.Event()
            with process.stop_signals(stop.set):
                await stop.wait()
        return played.went_well


def _times(number: int) -> str:
    return {0: "no", 1: "once"}.get(number, f"{number} times")
