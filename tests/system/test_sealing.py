"""The keys of the spool are exchanged while relay runs, and none goes that rows still need."""

import json
import re
from pathlib import Path

from tests.harness.deliveries import ENVIRON, midtrans_body, midtrans_request
from tests.harness.node import Node, command
from tests.harness.ports import free_port
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange
from tests.system.canaries import found

CANARY = "canary-card-5e41"
KEYS = {"k0": "5123456789abcdef" * 4, "k1": "6123456789abcdef" * 4}


def write(config: Path, *keys: str) -> None:
    """Name these keys in the file."""
    listed = ", ".join(f'"${{file:{key}}}"' for key in keys)
    spool = f"spool: {{path: relay.db, encrypt: [{listed}]}}"
    config.write_text(re.sub("spool: {.*}", spool, config.read_text()))


async def deliver(node: Node, order: str) -> None:
    raw = midtrans_request(midtrans_body(order_id=order, custom_field1=CANARY))
    assert (await exchange(node.public[0], raw)).status == 200


async def test_keys_are_rotated_by_reload_and_none_goes_that_rows_need(
    config: Path, upstream: Upstream
) -> None:
    for name, key in KEYS.items():
        config.with_name(name).write_text(f"{key}\n")
    config.write_text(
        config.read_text().replace(
            'admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{free_port()}"'
        )
    )
    write(config, "k0")
    async with Node(config, ENVIRON) as node:
        await deliver(node, "first")
        write(config, "k1", "k0")
        assert await command(config, "reload") == (0, "the configuration is in force\n", "")
        await deliver(node, "second")
        write(config, "k1")
        code, _, said = await command(config, "reload")
        assert (code, "1 row of the spool is sealed with the key" in said) == (1, True)
        await deliver(node, "third")
        assert await node.end() == 0
        seen = [("the log", str(node.lines).encode())]
        assert node.noise == []
    for words in (("run",), ("events", "list"), ("check",)):
        code, out, said = await command(config, *words)
        assert (code, out) == (2, "")
        seen.append((words[0], said.encode()))
        [line] = said.splitlines()
        assert line.startswith(f"{config}:")
        assert "spool.encrypt: 1 row of the spool is sealed with the key" in line
    write(config, "k1", "k0")
    _, out, _ = await command(config, "events", "list", "--format", "json")
    events = [each["id"] for each in json.loads(out)["events"]]
    shown = [(await command(config, "events", "show", each))[1] for each in events]
    assert [CANARY in each for each in shown] == [True] * 3
    copy = config.with_name("copy.db")
    assert (await command(config, "backup", str(copy)))[0] == 0
    seen += [(each.name, each.read_bytes()) for each in (config.with_name("relay.db"), copy)]
    wanted = [*KEYS.items(), ("what is sealed", CANARY)]
    assert found(wanted, seen) == []
    assert [CANARY.encode() in each.body for each in upstream.received] == [True] * 3
