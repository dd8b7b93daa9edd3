"""What an operator sees of a running relay: metrics, health, history, and the end."""

import errno
import os
import signal
from pathlib import Path

import aiohttp
import orjson
import pytest

from relay.cli.demo.services import Nameserver
from tests.harness.deliveries import ENVIRON, STRANGER, VIPPS, midtrans_body, midtrans_request
from tests.harness.node import Node, command
from tests.harness.optional_tools import promtool
from tests.harness.upstream import Upstream, answer
from tests.harness.wire import exchange, request

METRICS = {
    "admin_refused_total",
    "allowlist_addresses",
    "allowlist_age_seconds",
    "allowlist_changes_total",
    "allowlist_growth_total",
    "allowlist_knocks_total",
    "allowlist_mode",
    "attempt_duration_seconds",
    "attempts_total",
    "breaker_open",
    "build_info",
    "config_reload_success",
    "config_reload_timestamp_seconds",
    "confirmations_total",
    "certificate_expiry_timestamp_seconds",
    "conflicts_total",
    "connections",
    "connections_evicted_total",
    "dead_letters_total",
    "deliveries_total",
    "delivery_delay_seconds",
    "dns_lookups_total",
    "history_lost_total",
    "last_delivery_timestamp_seconds",
    "refusals_total",
    "repeats_total",
    "request_duration_seconds",
    "revived_total",
    "secret_used_total",
    "spool_bytes",
    "spool_events",
    "spool_free_bytes",
    "spool_oldest_pending_seconds",
    "stage_seconds",
    "undelivered_expiring",
    "undelivered_removed_total",
    "unknown_but_signed_total",
    "unrouted_total",
    "upstream_certificate_expiry_timestamp_seconds",
    "upstream_missing",
    "upstream_paused",
    "would_refuse_total",
}


async def test_the_minimal_file_starts_with_the_state_directory_of_the_unit(
    tmp_path: Path,
) -> None:
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir()
    minimal = (Path(__file__).parents[2] / "config/relay.minimal.yaml").read_text()
    minimal = minimal.replace("127.0.0.1:8080", "127.0.0.1:0")
    (etc / "relay.yaml").write_text(minimal + 'admin: {bind: "127.0.0.1:0"}\n')
    etc.chmod(0o555)
    environ = {**ENVIRON, "STATE_DIRECTORY": str(state)}
    async with Node(etc / "relay.yaml", environ) as node:
        assert await node.end() == 0
    assert [each.name for each in etc.iterdir()] == ["relay.yaml"]
    assert (state / "relay.db").is_file()


async def get(node: Node, path: str, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(node.admin_url + path, headers=headers) as response,
    ):
        return response.status, await response.text()


async def test_the_metrics_tell_what_happened(config: Path, upstream: Upstream) -> None:
    async with Node(config, ENVIRON) as node:
        raw = midtrans_request(midtrans_body())
        # The signature of the stranger fits, too.
        for message in (raw, raw, midtrans_request(midtrans_body(), STRANGER)):
            await exchange(node.public[0], message)
        await node.wait_for(event="attempt", decision="done")
        text = (await get(node, "/metrics"))[1]
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    ours = {name for name in names if not name.startswith("process_")}
    assert ours == {f"relay_{name}" for name in METRICS}
    assert names > ours
    for sample in (
        'relay_deliveries_total{endpoint="midtrans",provider="midtrans",verdict="accepted"} 1.0',
        'relay_deliveries_total{endpoint="midtrans",provider="midtrans",verdict="duplicate"} 1.0',
        'relay_refusals_total{endpoint="midtrans",reason="source_not_allowed"} 1.0',
        'relay_attempts_total{outcome="delivered",upstream="billing"} 1.0',
        'relay_spool_events{endpoint="midtrans",status="delivered"} 1.0',
        'relay_secret_used_total{endpoint="midtrans",secret="0"} 3.0',
        'relay_breaker_open{upstream="billing"} 0.0',
        'relay_allowlist_mode{endpoint="midtrans",mode="enforce"} 1.0',
    ):
        assert sample in text.splitlines()


async def test_labels_never_come_from_a_request(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        before = (await get(node, "/metrics"))[1].count("\n")
        for number in range(50):
            await exchange(node.public[0], request("POST", f"/random/{number}"))
        await node.wait_for(50, event="delivery", reason="unknown_endpoint")
        after = (await get(node, "/metrics"))[1].count("\n")
    assert after == before


@pytest.mark.debian
async def test_promtool_finds_nothing_wrong_with_the_metrics(
    config: Path, upstream: Upstream
) -> None:
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        await node.wait_for(event="attempt")
        text = (await get(node, "/metrics"))[1]
    assert promtool("check", "metrics", given=text, left="the live metrics were NOT checked") == ""


async def test_health(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        assert (await get(node, "/livez"))[0] == 200
        assert (await get(node, "/readyz"))[0] == 200
        reply = await exchange(node.public[0], request("GET", "/healthz"))
        assert (reply.status, reply.body) == (200, b"OK")
        assert reply.value("Server") == "relay"
        assert (await get(node, "/api/v1/events"))[0] == 401
        assert (await get(node, "/api/v1/events", ENVIRON["RELAY_ADMIN_TOKEN"]))[0] == 200


async def test_history_is_read_and_dead_letters_are_requeued_while_it_runs(
    config: Path, upstream: Upstream
) -> None:
    config.write_text(
        config.read_text().replace("schedule: [50ms]", "schedule: [50ms], give_up_after: 1ms")
    )
    upstream.behave(answer(500))
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        dead = await node.wait_for(event="attempt", decision="dead")
        code, output, _ = await command(config, "events", "list", "--format", "json")
        listed = orjson.loads(output)
        assert (code, listed["next"]) == (0, None)
        assert listed["events"][0].items() >= {"id": dead["id"], "status": "dead"}.items()
        code, output, _ = await command(config, "events", "show", dead["id"])
        assert code == 0
        assert "rejected 500" in output
        upstream.behave(answer(200))
        code, output, errors = await command(config, "events", "requeue", dead["id"])
        assert (code, errors) == (0, "")
        await node.wait_for(event="attempt", decision="done")
        code, output, _ = await command(
            config, "events", "list", "--status", "delivered", "--format", "json"
        )
        assert [each["id"] for each in orjson.loads(output)["events"]] == [dead["id"]]


async def test_requeue_by_filter_wants_to_be_sure(config: Path) -> None:
    async with Node(config, ENVIRON):
        assert (await command(config, "events", "requeue"))[0] == 2
        assert (await command(config, "events", "requeue", "--status", "dead"))[0] == 2
        assert (await command(config, "events", "requeue", "--status", "dead", "--yes"))[0] == 1
        assert (await command(config, "events", "requeue", "evt_none"))[0] == 1
        assert (await command(config, "events", "show", "evt_none"))[0] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_good_order(
    number: signal.Signals, config: Path, upstream: Upstream
) -> None:
    async with Node(config, ENVIRON) as node:
        await exchange(node.public[0], midtrans_request(midtrans_body()))
        await upstream.has_received(1)
        assert await node.end(number) == 0
        assert node.lines[-1]["event"] == "stopped"
        assert node.noise == []


async def test_a_hang_up_does_not_end_it(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        assert node._process is not None
        node._process.send_signal(signal.SIGHUP)
        await node.wait_for(event="reloaded")
        assert (await get(node, "/livez"))[0] == 200


async def test_a_wrong_configuration_starts_nothing(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("upstream: billing", "upstream: biling"))
    code, output, errors = await command(config, "run")
    assert (code, output) == (2, "")
    assert errors.count('no upstream named "biling"; did you mean "billing"?') == 2
    assert "Traceback" not in errors
    assert not (tmp_path / "relay.db").exists()


async def test_a_port_that_is_taken_is_one_plain_line(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        taken = f"127.0.0.1:{node.public[0][1]}"
        config.write_text(config.read_text().replace("127.0.0.1:0", taken, 1))
        code, _, errors = await command(config, "run")
    assert code == 1
    assert "Traceback" not in errors
    assert os.strerror(errno.EADDRINUSE).lower() in errors


@pytest.mark.parametrize(
    ("given", "admitted"),
    [("104.40.249.200", ["104.40.249.200"]), ("10.0.0.1", [])],
    ids=["an address", "a private one"],
)
async def test_check_asks_dns_when_told_to(given: str, admitted: list[str], config: Path) -> None:
    async with Nameserver([given]) as server:
        text = config.read_text().replace(f'allowlist: {{replace: ["{VIPPS}/32"]}}', "")
        config.write_text(text + f'dns: {{nameservers: ["127.0.0.1:{server.port}"]}}\n')
        _, output, errors = await command(config, "check", "--resolve", "--format", "json")
    assert errors == ""
    hosts = {each["host"]: each for each in orjson.loads(output)["hosts"]}
    assert set(hosts) == {"callback-mt-1.vipps.no", "callback-mt-2.vipps.no"}
    assert {tuple(each["addresses"]) for each in hosts.values()} == {tuple(admitted)}
    expected = "ok" if admitted else "refused_answer"
    assert {each["result"] for each in hosts.values()} == {expected}
