"""One configuration after another, in one process that goes on serving."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.allowlist import ProvenAddresses
from relay.allowlist.registry import Knock, KnockResult
from relay.app import builder
from relay.app.generation import LiveConfig, LiveConfigBuilder
from relay.app.runtime import Addresses, App
from relay.config.loader import load_text
from relay.config.settings import Endpoint, Settings
from relay.core.clock import SystemClock
from relay.core.errors import Problem
from relay.core.event import Delivered, Outcome, ProxyResponse, Unconfirmed, Unreachable
from relay.delivery.confirmation import StatusConfirmer, StatusTarget
from relay.delivery.proxy import ProxiedHistory
from relay.delivery.sender import HttpSender
from relay.delivery.tokens import TokenSource
from relay.ingest.client_address import Clients
from relay.ingest.unknown_senders import UnknownSenders
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.config.files import GOOD, good
from tests.config.files import VIPPS as VIPPS_ENDPOINT
from tests.harness.attempting import attempted
from tests.harness.authority import Authority
from tests.harness.deliveries import (
    BEARER,
    ENVIRON,
    EVENT,
    MIDTRANS,
    VIPPS,
    configuration,
    lease_of,
    midtrans_body,
    midtrans_request,
    verified,
)
from tests.harness.oauth2_server import OAuth2Server
from tests.harness.upstream import NOT_FOUND, StatusApi, Upstream, answer, says, when
from tests.harness.wire import exchange, read_reply, request


@dataclass
class Relay:
    """A relay in this process; `text` is what it reads when it reads again."""

    directory: Path
    text: str
    environ: dict[str, str] = field(default_factory=lambda: dict(ENVIRON))
    addresses: Addresses = field(init=False)
    app: App = field(init=False)

    def load(self) -> Settings:
        return load_text(self.text, "relay.yaml", self.environ, self.directory)

    async def reload(self) -> tuple[Problem, ...]:
        assert self.app._reloader is not None
        return await self.app._reloader.reload()

    async def send(self, raw: bytes | None = None) -> int:
        raw = midtrans_request(midtrans_body()) if raw is None else raw
        return (await exchange(self.addresses.public[0], raw)).status

    async def ask(self, path: str) -> str:
        reply = await exchange(self.addresses.admin, request("GET", path, [BEARER]))
        return reply.body.decode()


@asynccontextmanager
async def relaying(directory: Path, text: str) -> AsyncIterator[Relay]:
    relay = Relay(directory, text)
    writer = LogWriter(io.BytesIO())
    clock = SystemClock()
    relay.app = App(relay.load(), log=Log(writer, clock), clock=clock, load=relay.load)
    stop = asyncio.Event()
    started: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(relay.app.serve(stop, started.set_result))
    waits: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    relay.addresses = started.result()
    try:
        yield relay
    finally:
        stop.set()
        await task
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


async def test_endpoints_come_and_go_and_change(tmp_path: Path, upstream: Upstream) -> None:
    async with relaying(tmp_path, configuration(upstream.url)) as relay:
        before, relay.text = relay.text, relay.text.replace("/midtrans/notification", "/hook")
        moved = midtrans_request(midtrans_body()).replace(b"/midtrans/notification", b"/hook")
        assert [await relay.send(), await relay.send(moved)] == [200, 404]
        assert await relay.reload() == ()
        assert [await relay.send(), await relay.send(moved)] == [404, 200]
        relay.text = before[: before.index("  - name: vipps")]
        assert await relay.reload() == ()
        assert await relay.send() == 200
        assert '"endpoint":"vipps"' not in await relay.ask("/api/v1/allowlist")


async def test_a_secret_is_rotated(tmp_path: Path, upstream: Upstream) -> None:
    async with relaying(tmp_path, configuration(upstream.url)) as relay:
        relay.environ["MIDTRANS_SERVER_KEY"] = "SB-Mid-server-another-one-entirely"
        assert await relay.send() == 200
        assert await relay.reload() == ()
        assert await relay.send() == 401


async def test_trusted_proxies_and_limits_hold_from_the_next_request_on(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, configuration(upstream.url)) as relay:
        relay.text = relay.text.replace('"127.0.0.1/32"]', '"192.0.2.0/24"]')
        assert await relay.reload() == ()
        assert await relay.send() == 403
        relay.text = configuration(upstream.url).replace("body: 64KiB", "body: 64B")
        assert await relay.reload() == ()
        assert await relay.send() == 413


async def test_a_request_in_flight_ends_in_the_configuration_it_began_in(
    tmp_path: Path, upstream: Upstream
) -> None:
    proxied = configuration(upstream.url).replace(
        "    upstream: billing", "    upstream: billing\n    mode: proxy"
    )
    gate = asyncio.Event()
    async with Upstream(when(gate, answer(200, body=b"old"))) as old, Upstream() as new:
        present = proxied.replace(upstream.url, old.url)
        async with relaying(tmp_path, present) as relay:
            raw = midtrans_request(midtrans_body())
            # One waits for its upstream; of another, only a part has come.
            key = asyncio.ensure_future(relay.send(midtrans_request(midtrans_body())))
            await old.has_received(1)
            reader, writer = await asyncio.open_connection(*relay.addresses.public[0])
            writer.write(raw[:-10])
            await _has_begun(relay)
            relay.text = proxied.replace(upstream.url, new.url).replace("billing", "ledger")
            assert await relay.reload() == ()
            assert await relay.send(midtrans_request(midtrans_body())) == 200
            assert len(new.received) == 1
            writer.write(raw[-10:])
            await old.has_received(2)
            gate.set()
            assert await key == 200
            reply = await read_reply(reader)
            assert (reply.status, reply.body) == (200, b"old")
            writer.close()


async def _has_begun(relay: Relay) -> None:
    """Return when a request that has not come whole is in hand besides the one before."""
    assert relay.app._parts is not None
    ingest = relay.app._parts.edge._ingest
    async with asyncio.timeout(10):
        while ingest._in_flight < 2:  # noqa: ASYNC110 - nobody else is told
            await asyncio.sleep(0)


async def test_what_an_upstream_is_owed_goes_to_where_it_is_now(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with Upstream(when(gate, answer(500))) as old, Upstream() as new:
        async with relaying(tmp_path, configuration(old.url)) as relay:
            bodies = [midtrans_body() for _ in range(3)]
            for body in bodies:
                assert await relay.send(midtrans_request(body)) == 200
            await old.has_received(3)
            relay.text = configuration(new.url)
            assert await relay.reload() == ()
            gate.set()
            await new.has_received(3)
        assert sorted(each.body for each in new.received) == sorted(bodies)
        assert {each.values("Relay-Attempt")[0] for each in new.received} == {"2"}


async def test_connections_of_what_was_replaced_are_closed(tmp_path: Path) -> None:
    async with Upstream() as upstream, relaying(tmp_path, configuration(upstream.url)) as relay:
        assert relay.app._parts is not None
        configs = relay.app._parts.config_switch._configs
        for timeout in range(3, 8):
            assert await relay.send() == 200
            relay.text = configuration(upstream.url).replace("timeout: 2s", f"timeout: {timeout}s")
            assert await relay.reload() == ()
        async with asyncio.timeout(10):
            while configs._upstreams.retired():  # noqa: ASYNC110 - nobody else is told
                await asyncio.sleep(0)
        await upstream.has_received(5)


async def test_what_cannot_be_built_leaves_everything_as_it_was(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, configuration(upstream.url)) as relay:
        assert relay.app._parts is not None
        config_switch = relay.app._parts.config_switch
        wanted = relay.load()
        # Nothing that was checked is like this; it stands for a mistake of ours.
        broken = wanted.upstreams["billing"].model_copy(update={"url": "no URL"})
        with pytest.raises(ValueError, match="begins with http"):
            await config_switch.switch(wanted.model_copy(update={"upstreams": {"new": broken}}))
        assert await relay.send() == 200
        await upstream.has_received(1)
        statuses = await relay.ask("/api/v1/allowlist")
        assert MIDTRANS in statuses


def looking_up(upstream: Upstream, interval: str) -> str:
    """Return a configuration with a host name, which nobody answers for."""
    dns = f'dns: {{nameservers: ["127.0.0.1:1"], timeout: 20ms, knock_interval: {interval}}}\n'
    named = f'{{replace: ["{VIPPS}/32", hooks.example.com]}}'
    return dns + configuration(upstream.url).replace(f'{{replace: ["{VIPPS}/32"]}}', named)


def knock_of(relay: Relay) -> Knock:
    assert relay.app._parts is not None
    *_, vipps = relay.app._parts.config_switch._configs.active.endpoints
    assert vipps.knock is not None
    return vipps.knock


async def test_a_reload_lets_nobody_look_up_more_often(tmp_path: Path, upstream: Upstream) -> None:
    async with relaying(tmp_path, looking_up(upstream, "1h")) as relay:
        assert await knock_of(relay).knock() is KnockResult.REFRESHED
        relay.text = relay.text.replace("timeout: 2s", "timeout: 3s").replace(
            "name: mid", "name: m"
        )
        assert await relay.reload() == ()
        assert await knock_of(relay).knock() is KnockResult.LIMITED


async def test_a_new_interval_counts_from_its_reload_on(tmp_path: Path, upstream: Upstream) -> None:
    async with relaying(tmp_path, looking_up(upstream, "1h")) as relay:
        assert await knock_of(relay).knock() is KnockResult.REFRESHED
        relay.text = looking_up(upstream, "1ms")
        assert await relay.reload() == ()
        assert await knock_of(relay).knock() is KnockResult.REFRESHED
        async with asyncio.timeout(10):
            while await knock_of(relay).knock() is KnockResult.LIMITED:  # noqa: ASYNC110 - time
                await asyncio.sleep(0)


async def test_what_cannot_be_built_leaves_how_hosts_are_looked_up(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, looking_up(upstream, "1h")) as relay:
        assert relay.app._parts is not None
        config_switch = relay.app._parts.config_switch
        wanted = load_text(looking_up(upstream, "1ms"), "relay.yaml", ENVIRON, tmp_path)
        broken = wanted.upstreams["billing"].model_copy(update={"url": "no URL"})
        with pytest.raises(ValueError, match="begins with http"):
            await config_switch.switch(wanted.model_copy(update={"upstreams": {"new": broken}}))
        relay.text = looking_up(upstream, "1h").replace("timeout: 2s", "timeout: 3s")
        assert await relay.reload() == ()
        assert await knock_of(relay).knock() is KnockResult.REFRESHED
        assert await knock_of(relay).knock() is KnockResult.LIMITED


async def test_the_page_of_metrics_knows_what_came(tmp_path: Path, upstream: Upstream) -> None:
    async with relaying(tmp_path, configuration(upstream.url)) as relay:
        relay.text = relay.text.replace("billing", "ledger")
        assert await relay.reload() == ()
        metrics = await relay.ask("/metrics")
        assert 'relay_breaker_open{upstream="ledger"} 0.0' in metrics
        assert 'relay_breaker_open{upstream="billing"}' not in metrics
        assert 'relay_dead_letters_total{upstream="ledger"} 0.0' in metrics
        assert "relay_config_reload_success 1.0" in metrics


def many(upstream: Upstream, *, changed: str = "") -> str:
    """Return a configuration with 50 endpoints more; one of them is as `changed` says."""
    more = "".join(
        f"""
  - name: more-{number}
    path: /more/{number}{changed if number == 7 else ""}
    provider: midtrans
    environment: sandbox
    secrets: ["${{env:MIDTRANS_SERVER_KEY}}"]
    upstream: billing"""
        for number in range(50)
    )
    return configuration(upstream.url) + more


async def test_only_endpoints_that_differ_are_bound_anew(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, many(upstream)) as relay:
        assert relay.app._parts is not None
        configs = relay.app._parts.config_switch._configs
        before = configs.active.endpoints
        # What endpoints have in common with others is no part of them.
        relay.text = many(upstream, changed="/x").replace("timeout: 2s", "timeout: 3s")
        assert await relay.reload() == ()
        after = configs.active.endpoints
        anew = [new for old, new in zip(before, after, strict=True) if new is not old]
        assert [each.path for each in anew] == ["/more/7/x"]
        async with asyncio.timeout(10):
            while configs._endpoints.retired():  # noqa: ASYNC110 - nobody else is told
                await asyncio.sleep(0)
        assert len(configs._endpoints._open) == len(after)


async def test_others_have_their_turn_between_any_two_endpoints(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, many(upstream)) as relay:
        assert relay.app._parts is not None
        building = asyncio.ensure_future(relay.app._parts.config_switch.switch(relay.load()))
        iterations = 0
        while not building.done():
            await asyncio.sleep(0)
            iterations += 1
        await building
        assert iterations > 50


async def test_a_reload_that_is_cut_short_changes_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with relaying(tmp_path, looking_up(upstream, "1h")) as relay:
        assert relay.app._parts is not None
        configs = relay.app._parts.config_switch._configs
        before = configs.active
        relay.text = many(upstream)
        building = asyncio.ensure_future(relay.app._parts.config_switch.switch(relay.load()))
        for _ in range(10):
            await asyncio.sleep(0)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert configs.active is before
        assert await relay.send() == 200
        async with asyncio.timeout(10):
            while configs._endpoints.retired():  # noqa: ASYNC110 - nobody else is told
                await asyncio.sleep(0)
        assert knock_of(relay) in {each.knock for each in before.endpoints}


# ---- status targets -------------------------------------------------------------------------
# Status targets stay where they are the same, and how often was asked stays known.

#: Answered on no port.
URL = "http://127.0.0.1:1"


@pytest.fixture
async def configs(tmp_path: Path) -> AsyncIterator[LiveConfigBuilder]:
    clock, writer = SystemClock(), LogWriter(io.BytesIO())
    telemetry = Telemetry(Log(writer, clock))
    settings = good(GOOD)
    spool = await open_spool(tmp_path / "relay.db", clock)
    registry = builder.host_registry(
        settings, builder.dns_cache(settings, clock), clock, builder._IgnoreLookups()
    )
    made = LiveConfigBuilder(
        registry=registry,
        clients=Clients(builder.client_locator(settings), settings.limits.connections_per_address),
        spool=spool,
        history=ProxiedHistory(spool, clock=clock, telemetry=telemetry),
        on_refused=lambda *_: None,
        clock=clock,
        telemetry=telemetry,
        on_spool_broken=lambda _: None,
        proven=ProvenAddresses(clock),
        unknown_senders=UnknownSenders(clock, telemetry),
    )
    yield made
    await made.close()
    await spool.close()
    writer.close()


def settings(confirm: str, *changes: tuple[str, str]) -> Settings:
    text = GOOD + f"    confirm: {{{confirm}}}\n" + VIPPS_ENDPOINT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return good(text)


def having(*endpoints: Endpoint) -> Settings:
    return ASKING.model_copy(update={"endpoints": endpoints})


def confirmer(config: LiveConfig) -> StatusConfirmer:
    (upstream,) = config.upstreams
    assert isinstance(upstream.confirmer, StatusConfirmer)
    return upstream.confirmer


def target(config: LiveConfig, name: str = "midtrans") -> StatusTarget:
    return confirmer(config)._targets[name]


async def activated(configs: LiveConfigBuilder, settings: Settings) -> LiveConfig:
    config = await configs.build(settings)
    configs.activate(config)
    return config


ASKING = settings(f"url: '{URL}'")


async def test_what_is_the_same_stays(configs: LiveConfigBuilder) -> None:
    first = await activated(configs, ASKING)
    changed = settings(f"url: '{URL}'", ("/vipps", "/other"), ("/midtrans/", "/elsewhere/"))
    assert confirmer(await configs.build(changed)) is confirmer(first)


@pytest.mark.parametrize(
    "changed",
    [
        settings(f"url: '{URL}'", ("${env:KEY}", "${env:OTHER}")),
        settings(f"url: '{URL}', on_error: deliver"),
        settings(f"url: '{URL}', wait: 2h"),
        settings(f"url: '{URL}', key: '${{env:OTHER}}'"),
    ],
)
async def test_a_new_target_asks_no_more_often(
    changed: Settings, configs: LiveConfigBuilder
) -> None:
    first = await activated(configs, ASKING)
    after = await configs.build(changed)
    assert target(after) is not target(first)
    assert target(after).limiter is target(first).limiter
    assert target(after).secrets == changed.endpoints[0].secrets
    asked = changed.endpoints[0].confirm
    assert asked is not None
    assert (target(after).wait, target(after).key) == (asked.wait, asked.key)
    assert target(after).strict is (
        target(first).strict and "deliver" not in str(changed.endpoints[0].confirm)
    )


@pytest.mark.parametrize(
    "changed",
    [
        settings(f"url: '{URL}', rate: 11"),
        settings(f"url: '{URL}/other'"),
        settings(
            f"url: '{URL}'",
            ('production\n    secrets: ["${env:KEY', 'sandbox\n    secrets: ["${env:KEY'),
        ),
    ],
)
async def test_another_api_or_pace_begins_anew(
    changed: Settings, configs: LiveConfigBuilder
) -> None:
    first = await activated(configs, ASKING)
    assert target(await configs.build(changed)).limiter is not target(first).limiter


async def test_a_changed_target_leaves_its_neighbour_alone(configs: LiveConfigBuilder) -> None:
    more = ASKING.endpoints[0].model_copy(update={"name": "more", "path": "/more"})
    first = await activated(configs, having(*ASKING.endpoints, more))
    changed = settings(f"url: '{URL}', rate: 11").endpoints
    after = await configs.build(having(*changed, more))
    assert confirmer(after) is not confirmer(first)
    assert target(after, "more") is target(first, "more")
    configs.activate(after)
    assert [each.part for each in configs._targets.retired()] == [target(first)]
    await configs.retired()()
    assert not any(pool.retired() for pool in configs._pools)


async def test_events_of_an_endpoint_that_is_gone_are_not_let_through(
    configs: LiveConfigBuilder,
) -> None:
    async with StatusApi(says(NOT_FOUND)) as api:
        asking = settings(f'url: "{api.url}"').endpoints
        first = confirmer(await activated(configs, having(*asking)))
        body = b'{"order_id": "1", "status_code": "200", "gross_amount": "1.00",'
        event = replace(EVENT, body=body + b' "transaction_status": "deny"}')
        found = await first.confirm(lease_of(event))
        assert isinstance(found, Unconfirmed)
        assert (found.cause, found.not_yet) == ("not found", True)
        assert await first.confirm(lease_of(replace(event, endpoint="vipps"))) is None
        owed = replace(event, confirm=True)
        for without in (asking[1:], ()):
            after = confirmer(await activated(configs, having(*without)))
            gone = await after.confirm(lease_of(owed))
            assert gone == Unconfirmed("endpoint midtrans is not configured; name it again")
            # Nothing was promised of the events of others.
            assert await after.confirm(lease_of(replace(event, endpoint="gone"))) is None
        # The configuration has the last word.
        unasked = asking[0].model_copy(update={"confirm": None})
        after = confirmer(await activated(configs, having(unasked)))
        assert await after.confirm(lease_of(owed)) is None


async def test_endpoints_that_do_not_ask_come_and_go_and_nothing_is_made_anew(
    configs: LiveConfigBuilder,
) -> None:
    first = await activated(configs, ASKING)
    after = await activated(configs, having(*ASKING.endpoints[:1]))
    assert confirmer(after) is confirmer(first)


@pytest.mark.parametrize(("text", "seconds"), [(GOOD, 10), (GOOD + "    confirm: {}\n", 20)])
async def test_an_upstream_is_served_as_it_is_described(
    text: str, seconds: float, configs: LiveConfigBuilder
) -> None:
    retry = '{url: "http://127.0.0.1:8081/webhooks", retry: {schedule: [50ms]}}'
    text = text.replace('{url: "http://127.0.0.1:8081/webhooks"}', retry)
    (upstream,) = (await configs.build(good(text))).upstreams
    assert (upstream.name, upstream.concurrency) == ("billing", 32)
    assert upstream.timeout == timedelta(seconds=seconds)
    assert upstream.retry.schedule == (timedelta(milliseconds=50),)


async def test_what_a_rate_has_counted_stays_while_it_is_the_same(
    configs: LiveConfigBuilder,
) -> None:
    def having(more: str) -> Settings:
        return good(GOOD.replace('/webhooks"}', f'/webhooks"{more}}}'))

    [without] = (await activated(configs, having(""))).upstreams
    assert without.rate is None
    [first] = (await activated(configs, having(", rate: 50/s"))).upstreams
    [other] = (await activated(configs, having(", rate: 50/s, timeout: 3s"))).upstreams
    assert first.rate is other.rate is not None
    assert first != other
    [slower] = (await activated(configs, having(", rate: 10/m"))).upstreams
    assert slower.rate is not first.rate


# ---- tokens ---------------------------------------------------------------------------------
# One source for stored and proxied deliveries, with its tokens while its client is the same.


def authorized(server: OAuth2Server, more: str = "", secret: str = "the-secret-of-relay") -> str:
    url = f"{server.url}/hooks"
    client = f'token_url: "{server.token_url}", client_id: relay, client_secret: "{secret}"'
    auth = f"auth: {{oauth2: {{{client}, scope: billing.write}}}}"
    return GOOD.replace('"http://127.0.0.1:8081/webhooks"', f'"{url}", {auth}{more}')


async def sent(config: LiveConfig) -> Outcome:
    """Return the outcome of an attempt for an event, after that of a proxied delivery."""
    [upstream] = config.upstreams
    assert isinstance(upstream.sender, HttpSender)
    passed: asyncio.Future[ProxyResponse] = asyncio.get_running_loop().create_future()
    config.ingest._forward(verified(), passed.set_result)
    assert (await passed).outcome.name in {"delivered", "unreachable"}
    return await attempted(upstream.sender, lease_of(EVENT))


async def test_stored_and_proxied_deliveries_share_tokens_which_outlive_a_reload(
    configs: LiveConfigBuilder,
) -> None:
    async with OAuth2Server(SystemClock()) as server:
        first = await activated(configs, good(authorized(server)))
        assert await sent(first) == Delivered(200)
        assert server.questions == 1
        other = await activated(configs, good(authorized(server, ", concurrency: 3")))
        assert other.upstreams != first.upstreams
        assert await sent(other) == Delivered(200)
        assert server.questions == 1
        # What is closed is closed without the tokens, which are in use.
        await configs.retired()()
        assert await sent(other) == Delivered(200)
        assert server.taken == [*server.issued] * 6


async def test_a_new_secret_has_a_new_token_at_once(configs: LiveConfigBuilder) -> None:
    async with OAuth2Server(SystemClock()) as server:
        first = await activated(configs, good(authorized(server)))
        assert await sent(first) == Delivered(200)
        server.clients["relay"].secret = "another-secret"
        after = await activated(configs, good(authorized(server, secret="another-secret")))
        assert await sent(after) == Delivered(200)
        assert server.taken == [each for each in server.issued for _ in range(2)]
        # Attempts under way end with the one that they have.
        assert await sent(first) == Delivered(200)
        await configs.retired()()
        wrong = await activated(configs, good(authorized(server, secret="a-wrong-one")))
        assert await sent(wrong) == Unreachable("token")


async def test_answers_are_kept_without_the_secrets_and_tokens_of_their_attempt(
    configs: LiveConfigBuilder,
) -> None:
    async with OAuth2Server(SystemClock()) as server:
        [before] = (await activated(configs, good(authorized(server)))).upstreams
        assert isinstance(before.sender, HttpSender)
        await attempted(before.sender, lease_of(EVENT))
        [after] = (
            await activated(configs, good(authorized(server, secret="another-secret")))
        ).upstreams
        hidden = {each.reveal().decode() for each in before.secrets()}
        assert {"the-secret-of-relay", "another-secret", *server.issued} <= hidden
        # Base64 of relay:the-secret-of-relay.
        assert "cmVsYXk6dGhlLXNlY3JldC1vZi1yZWxheQ==" in hidden
        assert "another-secret" in {each.reveal().decode() for each in after.secrets()}


async def test_a_token_server_is_known_by_the_authority_of_its_upstream(
    configs: LiveConfigBuilder, tmp_path: Path
) -> None:
    own = Authority(tmp_path)
    async with OAuth2Server(SystemClock(), tls=own.server("127.0.0.1")) as server:
        unknown = await activated(configs, good(authorized(server)))
        assert await sent(unknown) == Unreachable("token")
        more = f', tls: {{ca: "{own.file}"}}'
        known = await activated(configs, good(authorized(server, more)))
        assert await sent(known) == Delivered(200)


async def test_a_token_server_has_no_address_that_is_not_called(
    configs: LiveConfigBuilder,
) -> None:
    async with OAuth2Server(SystemClock()) as server:
        text = authorized(server).replace(server.token_url, "http://169.254.169.254/token")
        [upstream] = (await activated(configs, good(text))).upstreams
        assert isinstance(upstream.sender, HttpSender)
        assert await attempted(upstream.sender, lease_of(EVENT)) == Unreachable("token")
        credentials = upstream.sender._credentials
        assert credentials is not None
        assert isinstance(credentials.tokens, TokenSource)
        assert credentials.tokens.reason == "address not allowed"


async def test_nothing_prints_a_credential(configs: LiveConfigBuilder) -> None:
    async with OAuth2Server(SystemClock()) as server:
        settings = good(authorized(server, ', headers: {X-Api-Key: "canary-of-a-header"}'))
        config = await activated(configs, settings)
        assert await sent(config) == Delivered(200)
        [upstream] = config.upstreams
        printed = f"{settings!r}{settings}{config!r}{upstream!r}"
        printed += f"{vars(upstream.sender)}{configs._tokens._active}{configs._upstreams._active}"
        for hidden in ("the-secret-of-relay", "canary-of-a-header", *server.issued):
            assert hidden not in printed
