"""What must be so after a fault: nothing is missing, and whatever tells of it tells the same."""

from collections.abc import Iterable
from pathlib import Path

from tests.durability.messages import Message
from tests.harness.ledger import Ledger, of_the_dead
from tests.harness.story import one_story_in_the_end
from tests.harness.upstream import Upstream
from tests.harness.wrapped import WrappedNode
from tests.system.conftest import ENVIRON


async def same_story(node: WrappedNode, config: Path, spool: Path | None = None) -> Ledger:
    """Wait until a relay has nothing in hand; then everything must tell the same of its events.

    spool: where it lies, unless beside the configuration. It was empty when the relay started.
    """
    path = spool or config.with_name("relay.db")
    return await one_story_in_the_end(node, config, path, ENVIRON)


async def delivered_in_the_end(
    config: Path, upstream: Upstream, promised: Iterable[Message]
) -> Ledger:
    """Let a sound relay work on what a fault has left; all of it must come, and what was promised.

    upstream: the one of this configuration. It answers 200, and remembers all that was promised
        and delivered before.
    """
    path = config.with_name("relay.db")
    left = of_the_dead(path)
    async with WrappedNode(config, ENVIRON) as node:
        ledger = await one_story_in_the_end(
            node, config, path, ENVIRON, before=left.having("delivered")
        )
        assert await node.end() == 0
    wanted = {row.body for row in left.rows if row.status != "delivered"}
    wanted |= {message.body for message in promised}
    missing = wanted - {each.body for each in upstream.received}
    assert missing == set(), f"{len(missing)} never came"
    return ledger
