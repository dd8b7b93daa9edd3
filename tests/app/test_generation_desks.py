"""Status targets stay where they are the same, and how often was asked stays known."""

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.app import builder, standalone
from relay.app.generation import LiveConfig, LiveConfigBuilder
from relay.config import Endpoint, Settings
from relay.core.clock import SystemClock
from relay.core.event import Unconfirmed
from relay.delivery.confirmation import StatusConfirmer, StatusTarget
from relay.delivery.proxy import ProxiedHistory
from relay.spool.sqlite import open_spool
from relay.telemetry import Telemetry
from relay.telemetry.log import Log, LogWriter
from tests.config.files import GOOD, VIPPS, good
from tests.harness.leases import EVENT
from tests.harness.statusapi import NOT_FOUND, StatusApi, says

#: Answered on no port.
URL = "http://127.0.0.1:1"


@pytest.fixture
async def configs(tmp_path: Path) -> AsyncIterator[LiveConfigBuilder]:
    clock, writer = SystemClock(), LogWriter(io.BytesIO())
    telemetry = Telemetry(Log(writer, clock))
    settings = good(GOOD)
    spool = await open_spool(tmp_path / "relay.db", clock)
    registry = builder.host_registry(
        settings, builder.dns_cache(settings, clock), clock, standalone._IgnoreLookups()
    )
    made = LiveConfigBuilder(
        registry=registry,
        clients=builder.client_locator(settings),
        spool=spool,
        history=ProxiedHistory(spool, clock=clock, telemetry=telemetry),
        on_refused=lambda *_: None,
        clock=clock,
        telemetry=telemetry,
        on_spool_broken=lambda _: None,
    )
    yield made
    await made.close()
    await spool.close()
    writer.close()


def settings(confirm: str, *changes: tuple[str, str]) -> Settings:
    text = GOOD + f"    confirm: {{{confirm}}}\n" + VIPPS
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
    ],
)
async def test_a_new_desk_asks_no_more_often(changed: Settings, configs: LiveConfigBuilder) -> None:
    first = await activated(configs, ASKING)
    after = await configs.build(changed)
    assert target(after) is not target(first)
    assert target(after).limiter is target(first).limiter
    assert target(after).secrets == changed.endpoints[0].secrets
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


async def test_a_changed_desk_leaves_its_neighbour_alone(configs: LiveConfigBuilder) -> None:
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
        assert await first.confirm(event) == Unconfirmed("not found")
        assert await first.confirm(replace(event, endpoint="vipps")) is None
        owed = replace(event, confirm=True)
        for without in (asking[1:], ()):
            after = confirmer(await activated(configs, having(*without)))
            gone = await after.confirm(owed)
            assert gone == Unconfirmed("endpoint midtrans is not configured; name it again")
            assert after.strict(owed)
            # Nothing was promised of the events of others.
            assert await after.confirm(replace(event, endpoint="gone")) is None
        # The configuration has the last word.
        unasked = asking[0].model_copy(update={"confirm": None})
        after = confirmer(await activated(configs, having(unasked)))
        assert await after.confirm(owed) is None


async def test_endpoints_that_do_not_ask_come_and_go_and_nothing_is_made_anew(
    configs: LiveConfigBuilder,
) -> None:
    first = await activated(configs, ASKING)
    after = await activated(configs, having(*ASKING.endpoints[:1]))
    assert confirmer(after) is confirmer(first)


@pytest.mark.parametrize(("text", "seconds"), [(GOOD, 10), (GOOD + "    confirm: {}\n", 15)])
async def test_an_upstream_is_served_as_it_is_described(
    text: str, seconds: float, configs: LiveConfigBuilder
) -> None:
    retry = '{url: "http://127.0.0.1:8081/webhooks", retry: {schedule: [50ms]}}'
    text = text.replace('{url: "http://127.0.0.1:8081/webhooks"}', retry)
    (upstream,) = (await configs.build(good(text))).upstreams
    assert (upstream.name, upstream.concurrency) == ("billing", 32)
    assert upstream.timeout == timedelta(seconds=seconds)
    assert upstream.retry.schedule == (timedelta(milliseconds=50),)
