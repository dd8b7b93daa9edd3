"""An operator changes the configuration of a relay that runs, in each way there is."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest
import trustme

from tests.harness import traced_node
from tests.harness.clock import wait_until
from tests.harness.deliveries import BEARER, ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node, command
from tests.harness.ports import free_port
from tests.harness.traced_node import RELAY, WrappedNode
from tests.harness.upstream import Upstream
from tests.harness.wire import Reply, exchange, request


async def delivered(node: Node, path: bytes = b"/midtrans/notification") -> int:
    raw = midtrans_request(midtrans_body()).replace(b"/midtrans/notification", path)
    return (await exchange(node.public[0], raw)).status


async def reloaded(node: Node) -> Reply:
    return await exchange(node.admin, request("POST", "/-/reload", [BEARER]))


async def test_sighup_takes_a_good_file_and_leaves_a_bad_one(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON) as node:
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        node.send(signal.SIGHUP)
        assert (await node.wait_for(event="reloaded"))["changed"] == ["endpoints.midtrans"]
        assert await delivered(node, b"/hook") == 200
        config.write_text(text.replace("upstream: billing", "upstream: biling", 1))
        node.send(signal.SIGHUP)
        line = await node.wait_for(event="reload_refused")
        assert line["level"] == "error"
        assert line["detail"].startswith(f"{config}:")
        assert 'did you mean "billing"' in line["detail"]
        assert await delivered(node, b"/hook") == 200
        await node.wait_for(2, event="audit", act="reload", actor="cli", address="SIGHUP")
        taken = [each["touched"]["taken"] for each in node.having(event="audit")]
        assert taken == [True, False]
        assert await node.metric("config_reload_success") == 0
        assert await node.end() == 0
        assert node.noise == []


async def test_the_admin_api_answers_what_came_of_it(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON) as node:
        assert (await reloaded(node)).status == 200
        config.write_text(text.replace("upstream: billing", "upstream: biling", 1))
        refused = await reloaded(node)
        assert refused.status == 422
        assert b'"where":"endpoints.0.upstream"' in refused.body
        config.write_text(text.replace("path: relay.db", "path: other.db"))
        refused = await reloaded(node)
        assert refused.status == 422
        assert b"restart needed" in refused.body
        assert (await exchange(node.admin, request("POST", "/-/reload"))).status == 401
        assert await node.end() == 0
        assert ENVIRON["RELAY_ADMIN_TOKEN"] not in str(node.lines)


async def test_the_command_says_what_came_of_it(config: Path) -> None:
    text = config.read_text().replace(
        'admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{free_port()}"'
    )
    config.write_text(text)
    async with Node(config, ENVIRON) as node:
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        taken = await command(config, "reload")
        assert taken == (0, "the configuration is in force\n", "")
        assert await delivered(node, b"/hook") == 200
        config.write_text(text.replace("upstream: billing", "upstream: biling", 1))
        code, out, err = await command(config, "reload")
        assert (code, out) == (2, "")
        assert re.match(rf"{config}:\d+:\d+: endpoints.0.upstream: .*billing", err)
        assert "the one before stays in force" in err
        code, out, _ = await command(config, "reload", "--format", "json")
        assert (code, json.loads(out)["kind"]) == (2, "mistake")
        config.write_text(text.replace("path: relay.db", "path: other.db"))
        code, _, err = await command(config, "reload")
        assert code == 1
        assert "spool: restart needed" in err
        config.write_text(text)
        code, _, err = await command(
            config, "reload", environ={**ENVIRON, "RELAY_ADMIN_TOKEN": "another-one"}
        )
        assert code == 1
        assert "another admin.token" in err
        assert await node.end() == 0
        assert node.noise == []


async def test_a_storm_of_sighup_ends_nothing(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        for _ in range(100):
            node.send(signal.SIGHUP)
            assert await delivered(node) == 200
        assert (await reloaded(node)).status == 200
        assert await node.end() == 0
        assert node.noise == []
        assert node.having(event="reload_fault") == []


async def test_a_watched_file_is_read_when_it_changes(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON, options=("--watch",)) as node:
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        await node.wait_for(event="reloaded")
        assert await delivered(node, b"/hook") == 200


@pytest.mark.parametrize("part", ["configuration", "secret"])
async def test_kubernetes_swaps_a_directory(part: str, tmp_path: Path, upstream: Upstream) -> None:
    """A volume there is links to `..data`, a link to a directory, which is exchanged."""
    mounted = tmp_path / "mounted"
    text = configuration(upstream.url).replace("path: relay.db", f"path: {tmp_path}/relay.db")
    key = ENVIRON["MIDTRANS_SERVER_KEY"]
    text = text.replace("${env:MIDTRANS_SERVER_KEY}", f"${{file:{mounted}/key}}")
    versions = {
        "..one": {"relay.yaml": text, "key": key},
        "..two": (
            {"relay.yaml": text.replace("/midtrans/notification", "/hook"), "key": key}
            if part == "configuration"
            else {"relay.yaml": text, "key": "SB-Mid-server-another-one-entirely"}
        ),
    }
    for version, files in versions.items():
        (mounted / version).mkdir(parents=True)
        for name, content in files.items():
            (mounted / version / name).write_text(content)
    (mounted / "..data").symlink_to("..one")
    for name in ("relay.yaml", "key"):
        (mounted / name).symlink_to(f"..data/{name}")
    async with Node(mounted / "relay.yaml", ENVIRON, options=("--watch",)) as node:
        assert await delivered(node) == 200
        (mounted / "..tmp").symlink_to("..two")
        (mounted / "..tmp").replace(mounted / "..data")
        await node.wait_for(event="reloaded")
        assert await delivered(node) == (404 if part == "configuration" else 401)


async def test_a_file_that_is_missing_is_waited_for(config: Path) -> None:
    """What mends a refused configuration may be another file than itself."""
    text, key = config.read_text(), config.parent / "secrets" / "key"
    async with Node(config, ENVIRON, options=("--watch",)) as node:
        moved = text.replace("/midtrans/notification", "/hook")
        config.write_text(moved.replace("${env:MIDTRANS_SERVER_KEY}", "${file:secrets/key}"))
        refused = await node.wait_for(event="reload_refused")
        assert f"cannot read {key}" in refused["detail"]
        key.parent.mkdir()
        key.write_text(ENVIRON["MIDTRANS_SERVER_KEY"])
        await node.wait_for(event="reloaded")
        assert await delivered(node, b"/hook") == 200
        # It is a file like any other from then on.
        key.write_text("SB-Mid-server-another-one-entirely")
        await node.wait_for(2, event="reloaded")
        assert await delivered(node, b"/hook") == 401


async def test_a_variable_that_is_new_is_told_to_be_of_the_start(config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace('"${env:MIDTRANS_SERVER_KEY}"', '"${env:OLD_KEY}"'))
    environ = {**ENVIRON, "OLD_KEY": ENVIRON["MIDTRANS_SERVER_KEY"]}
    async with Node(config, environ) as node:
        both = '"${env:NEW_KEY}", "${env:OLD_KEY}"'
        config.write_text(text.replace('"${env:MIDTRANS_SERVER_KEY}"', both))
        refused = await reloaded(node)
        assert refused.status == 422
        assert (
            b"the environment variable NEW_KEY was not set when relay started, and cannot change"
            b" while it runs; restart it, or use ${file:PATH} for what changes"
        ) in refused.body
        assert await delivered(node) == 200


async def test_a_key_is_rotated_from_files_without_a_restart(config: Path) -> None:
    text, keys = config.read_text(), config.parent / "secrets"
    keys.mkdir()
    (keys / "old").write_text("SB-Mid-server-the-one-before")
    one, both = '"${file:secrets/old}"', '"${file:secrets/new}", "${file:secrets/old}"'
    config.write_text(text.replace('"${env:MIDTRANS_SERVER_KEY}"', one))
    async with Node(config, ENVIRON) as node:
        assert await delivered(node) == 401
        (keys / "new").write_text(ENVIRON["MIDTRANS_SERVER_KEY"] + "\n")
        config.write_text(text.replace('"${env:MIDTRANS_SERVER_KEY}"', both))
        assert (await reloaded(node)).status == 200
        assert await delivered(node) == 200


async def test_half_a_pair_is_waited_for(config: Path) -> None:
    authority, directory = trustme.CA(), config.parent
    old, new = (authority.issue_cert("pay.example.com") for _ in range(2))
    certificate, key = directory / "chain.pem", directory / "key.pem"
    certificate.write_bytes(old.cert_chain_pems[0].bytes())
    key.write_bytes(old.private_key_pem.bytes())
    tls = f'"127.0.0.1:0", tls: {{certificate: {certificate}, key: {key}}}}}]'
    text = config.read_text().replace('"127.0.0.1:0"}]', tls, 1)
    config.write_text(text)
    async with Node(config, ENVIRON, options=("--watch",)) as node:
        certificate.write_bytes(new.cert_chain_pems[0].bytes())
        refused = await node.wait_for(event="reload_refused")
        assert "do not fit together" in refused["detail"]
        key.write_bytes(new.private_key_pem.bytes())
        await node.wait_for(event="certificate_renewed")
        await node.wait_for(event="reloaded")


async def test_a_configuration_that_goes_and_comes_back_is_read(config: Path) -> None:
    text = config.read_text()
    async with Node(config, ENVIRON, options=("--watch",)) as node:
        config.unlink()
        await node.wait_for(event="reload_refused")
        assert await delivered(node) == 200
        config.write_text(text.replace("/midtrans/notification", "/hook"))
        await node.wait_for(event="reloaded")
        assert await delivered(node, b"/hook") == 200


async def test_what_is_no_file_is_refused_and_stops_nothing(config: Path) -> None:
    async with Node(config, ENVIRON) as node:
        config.rename(config.with_suffix(".away"))
        os.mkfifo(config)
        refused = await reloaded(node)
        assert refused.status == 422
        assert f"{config}:1:1: cannot read the file: it is not a regular file" in str(
            (await node.wait_for(event="reload_refused"))["detail"]
        )
        config.unlink()
        config.with_suffix(".away").rename(config)
        assert (await reloaded(node)).status == 200
        assert await node.end() == 0


async def test_a_start_does_not_wait_for_a_pipe(config: Path) -> None:
    config.unlink()
    os.mkfifo(config)
    node = WrappedNode(config, ENVIRON)
    await node.launch()
    assert await node.ended() == 2
    assert node.noise == [f"{config}:1:1: cannot read the file: it is not a regular file\n"]


@pytest.mark.debian
async def test_a_disk_that_does_not_answer_holds_up_no_end(config: Path, tmp_path: Path) -> None:
    traced_node.strace_needed()
    key = tmp_path / "slow"
    key.write_text(ENVIRON["MIDTRANS_SERVER_KEY"])
    slow = traced_node.failing(tmp_path / "calls", "openat", "delay_enter=3600s", [key])
    async with WrappedNode(config, ENVIRON, prefix=slow) as node:
        text = config.read_text().replace("${env:MIDTRANS_SERVER_KEY}", "${file:slow}")
        config.write_text(text)
        node.send(signal.SIGHUP)
        asked = asyncio.ensure_future(reloaded(node))
        for _ in range(20):
            assert await delivered(node) == 200
        assert not asked.done()
        node.send(signal.SIGTERM)
        await node.wait_for(event="stopped")
        assert b"relay is stopping" in (await asked).body
        # The thread that is held up is held by the tracer: without it, it goes with the process.
        os.kill(_tracer_of(node.pid), signal.SIGKILL)
        assert await node.ended() == 0


def _tracer_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("TracerPid:")[2].split()[0])


async def importing(config: Path) -> WrappedNode:
    """Return a relay that has begun to start, and is not done with it."""
    node = WrappedNode(config, ENVIRON, program=("-X", "importtime", *RELAY))
    await node.launch()
    # Python tells what it imports: this is after the first steps, and long before the last.
    assert await wait_until(
        lambda: any(line.endswith(" typer._click\n") for line in node.noise), 20
    )
    return node


async def test_sighup_before_anything_is_ready_waits(config: Path) -> None:
    node = await importing(config)
    for _ in range(100):
        node.send(signal.SIGHUP)
    assert await node.listening()
    await node.wait_for(event="reloaded")
    assert await delivered(node) == 200
    assert await node.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_who_is_stopped_before_anything_is_ready_stops(
    number: signal.Signals, config: Path
) -> None:
    node = await importing(config)
    node.send(number)
    assert await node.ended() == 0
    assert "Traceback" not in "".join(node.noise)
    assert node.lines == []
