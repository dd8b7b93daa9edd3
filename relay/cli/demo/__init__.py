"""The whole main job on one machine, with nothing to configure.

A real relay with a temporary spool stands between a sender that signs as the providers do and a
sink that takes what arrives. Everything is on loopback. The sender's addresses are told in
X-Forwarded-For, as a load balancer would, and those of Vipps come from a small DNS server here.
"""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.app import Addresses, App
from relay.clock import SystemClock
from relay.config import load_text, provider_of
from relay.demo.keys import Pair, asymmetric, shared, standard_webhooks
from relay.demo.nameserver import Nameserver
from relay.demo.scenario import Row, Target, play
from relay.demo.sink import Sink
from relay.logs import Log

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
    """A provider as the demo plays it: an address that it sends from, and how keys are made.

    The addresses are one that Midtrans lists, one that our own DNS server gives for the callback
    hosts of Vipps (an example in the Vipps documentation), and one of the block above.

    described: the block of YAML that describes it; empty for one that is built in.
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
    """A running demo. `rows` says what was sent and what became of it."""

    rows: tuple[Row, ...]
    admin_url: str
    token: str
    public_url: str

    @property
    def went_well(self) -> bool:
        return all(row.went_well for row in self.rows)


@asynccontextmanager
async def running(log: Log) -> AsyncIterator[Demo]:
    """Start everything, play the scenario, and stay up until the context ends."""
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
            app = App(settings, log=log, clock=SystemClock())
            async with asyncio.TaskGroup() as group:
                group.create_task(app.serve(stop, started.set_result))
                try:
                    addresses: Addresses = await started
                    public_url = "http://{}:{}".format(*addresses.public[0])
                    targets = [
                        Target(
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
