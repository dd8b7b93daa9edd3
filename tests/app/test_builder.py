"""Settings become the parts they describe."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay.allowlist import Mode
from relay.app import builder
from relay.app.spools import open_spool
from relay.config import load
from relay.config.loader import load_text
from relay.config.settings import Settings
from relay.core.clock import SystemClock
from relay.core.errors import RelayError
from relay.core.strict_json import DEFAULT_LIMITS
from relay.ingest.reconcile import ReconcileResult, Result
from relay.spool.sqlite import open_spool as open_sqlite
from tests.cli.conftest import CONFIGURATION
from tests.config.files import GOOD, good
from tests.config.files import VIPPS as VIPPS_ENDPOINT
from tests.harness.deliveries import ENVIRON, MIDTRANS, VIPPS, configuration
from tests.harness.upstream import NOT_FOUND, StatusApi, says


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_text(configuration("http://127.0.0.1:1"), "relay.yaml", ENVIRON, tmp_path)


def test_an_endpoint_is_bound_with_its_provider_and_addresses(settings: Settings) -> None:
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, builder._IgnoreLookups())
    midtrans, vipps = (
        builder.bind_endpoint(each, registry, DEFAULT_LIMITS) for each in settings.endpoints
    )
    assert (midtrans.provider, midtrans.environment, midtrans.upstreams) == (
        "midtrans",
        "sandbox",
        ("billing",),
    )
    assert midtrans.methods == ("POST",)
    assert {str(entry.network) for entry in vipps.allowlist.entries()} == {f"{VIPPS}/32"}
    assert vipps.knock is None
    assert "x-ms-date" in vipps.headers


def test_the_host_names_of_every_endpoint_are_known(settings: Settings, tmp_path: Path) -> None:
    assert {builder.expected_sources(each).hosts for each in settings.endpoints} == {()}
    text = configuration("http://127.0.0.1:1").replace(
        "    upstream: billing", "    upstream: billing\n    allowlist: {add: [a.example.org]}", 1
    )
    named = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    assert builder.expected_sources(named.endpoints[0]).hosts == ("a.example.org",)


@pytest.mark.parametrize("asks", [False, True])
def test_an_endpoint_that_asks_is_bound_as_one(asks: bool, tmp_path: Path) -> None:
    line = "    environment: sandbox\n"
    text = configuration("http://127.0.0.1:1").replace(
        line, f"{line}    confirm: {{with: status}}\n" if asks else line, 1
    )
    settings = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, builder._IgnoreLookups())
    bound = [builder.bind_endpoint(each, registry, DEFAULT_LIMITS) for each in settings.endpoints]
    assert [each.confirm for each in bound] == [asks, False]


@pytest.mark.parametrize(("mode", "proxied"), [("store", False), ("proxy", True)])
def test_a_proxied_endpoint_is_bound_as_one(mode: str, proxied: bool, tmp_path: Path) -> None:
    text = configuration("http://127.0.0.1:1").replace(
        "    upstream: billing", f"    upstream: billing\n    mode: {mode}"
    )
    settings = load_text(text, "relay.yaml", ENVIRON, tmp_path)
    clock = SystemClock()
    cache = builder.dns_cache(settings, clock)
    registry = builder.host_registry(settings, cache, clock, builder._IgnoreLookups())
    bound = [builder.bind_endpoint(each, registry, DEFAULT_LIMITS) for each in settings.endpoints]
    assert {each.proxied for each in bound} == {proxied}
    assert {each.mode for each in bound} == {Mode.ENFORCE}


# ---- asking the status API ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ("production", "https://api.midtrans.com/v2"),
        ("sandbox", "https://api.sandbox.midtrans.com/v2"),
    ],
)
async def test_the_api_is_the_one_of_the_environment(environment: str, url: str) -> None:
    text = GOOD.replace("environment: production", f"environment: {environment}")
    async with AsyncExitStack() as stack:
        client = builder.status_client(good(text).endpoints[0], SystemClock(), stack)
        assert client.base == url


# ---- parts for commands that work without a running relay -----------------------------------


SECRETS = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIGURATION)
    return path


async def test_a_visitor_needs_to_know_what_dns_said(config: Path) -> None:
    settings = load(config, SECRETS)
    spool = await open_spool(settings)
    assert await builder.releaser(settings, spool).release("ref_9") is None
    (config.parent / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        builder.releaser(settings, spool)
    await spool.close()


def test_allowlists_are_known_without_running(config: Path) -> None:
    known = builder.known_allowlists(load(config, SECRETS))
    assert known["midtrans"][0] is Mode.ENFORCE
    assert f"{MIDTRANS}/32" in {str(each.network) for each in known["midtrans"][1].entries()}


def test_a_broken_state_file_is_said_and_not_guessed_around(config: Path) -> None:
    (config.parent / "dns.json").write_text("{")
    with pytest.raises(RelayError, match=r"dns\.json"):
        builder.known_allowlists(load(config, SECRETS))


def test_who_cannot_be_reconciled() -> None:
    midtrans, vipps = good(GOOD + VIPPS_ENDPOINT).endpoints
    assert builder.unanswerable(midtrans) is None
    assert builder.unanswerable(vipps) == "vipps cannot be asked for a status"
    [proxied] = good(GOOD + "    mode: proxy\n").endpoints
    assert "mode: proxy" in str(builder.unanswerable(proxied))
    unsigned = GOOD.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    assert "no secrets" in str(builder.unanswerable(good(unsigned).endpoints[0]))


async def test_a_reconciler_asks_where_the_endpoint_does(tmp_path: Path) -> None:
    async with StatusApi(says(NOT_FOUND)) as api, AsyncExitStack() as stack:
        spool = await open_sqlite(tmp_path / "relay.db", SystemClock())
        stack.push_async_callback(spool.close)
        [endpoint] = good(GOOD + f'    confirm: {{url: "{api.url}"}}\n').endpoints
        reconciler = builder.reconciler(endpoint, spool, SystemClock(), stack)
        assert await reconciler.reconcile("1") == ReconcileResult("1", Result.NOT_FOUND)
