"""A customer chooses an order id for the operator's pattern: nobody waits because of it."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.crash.lengths import lengths, tell
from tests.harness.deliveries import ENVIRON, configuration, midtrans_body, midtrans_request
from tests.harness.node import Node
from tests.harness.upstream import Upstream
from tests.harness.wire import exchange

#: Patterns as people write them, and for each an order id that a backtracking matcher stands at.
_PATTERNS = [
    ("([a-z0-9]+-?)+", "a" * 26 + "!"),
    ("([0-9]+)+X", "1" * 40),
    ("(INV|INVOICE|[A-Z]+)*[0-9]+", "INV" * 30),
    (r"(\w+\s?)*", "order " * 20 + "!"),
    ("(.*)*-END", "x" * 255),
]


@lengths(4, 2000)
@pytest.mark.parametrize(("pattern", "order_id"), _PATTERNS, ids=[each for each, _ in _PATTERNS])
async def test_nobody_waits_for_a_hostile_order_id(
    pattern: str, order_id: str, times: int, tmp_path: Path, upstream: Upstream
) -> None:
    path = tmp_path / "relay.yaml"
    given = json.dumps(pattern)
    path.write_text(
        configuration(upstream.url).replace(
            "    upstream: billing\n", f"    upstream: billing\n    order_id_pattern: {given}\n", 1
        )
    )
    now = asyncio.get_running_loop().time
    slowest = 0.0
    async with Node(path, ENVIRON) as node:
        for _ in range(times):
            began = now()
            replies = await asyncio.gather(
                *(
                    exchange(node.public[0], midtrans_request(midtrans_body(order_id=each)))
                    for each in (order_id, *(order_id[:1] * 7 + order_id[1:],) * 3, "a-7X")
                )
            )
            slowest = max(slowest, now() - began)
            assert [each.status for each in replies[:4]] == [400] * 4
    tell(slowest=f"{slowest:.4f}")
    # A backtracking matcher takes from half a minute to years.
    assert slowest < 5
