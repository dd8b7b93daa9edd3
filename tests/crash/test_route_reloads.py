"""Reloads under load that change routes and upstreams: an event goes where it went when it came.

Upstreams are taken from the file while events wait for them, and named again later.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.crash import short_pauses
from tests.crash.fan_out import UPSTREAMS
from tests.crash.lengths import dice, lengths, tell
from tests.crash.moods import MoodyUpstream
from tests.harness.clock import wait_until
from tests.harness.consistency import check_consistency
from tests.harness.deliveries import BEARER, ENVIRON, MIDTRANS, midtrans_body
from tests.harness.restarts import Life, Restarts, path_of
from tests.harness.spool_audit import SpoolAudit, audit_running
from tests.harness.wire import exchange, request

pytestmark = pytest.mark.proof

_PROGRAM = (str(Path(short_pauses.__file__)),)

#: Seconds under load between two reloads at most, and until the last is delivered.
_SERVING, _PATIENCE = 0.3, 60.0

#: Values of a field in the body; the last has no route.
_FIELDS = ("charge", "refund", "other")

_HEAD = """
listen: [{bind: "127.0.0.1:0"}]
trusted_proxies: ["127.0.0.1/32"]
admin: {bind: "127.0.0.1:0", token: "${env:RELAY_ADMIN_TOKEN}"}
spool: {path: relay.db}
shutdown_grace: 5s
"""


@dataclass(frozen=True, slots=True)
class File:
    """One configuration: the upstreams that it names, and where events go by their field."""

    named: tuple[str, ...]
    by_field: Mapping[str, tuple[str, ...]]

    def text(self, upstreams: Mapping[str, MoodyUpstream], life: int) -> str:
        """Return it as YAML. The path of an upstream tells the life, as in `Restarts`."""
        urls = "".join(
            f'  {name}: {{url: "{upstreams[name].url}{path_of(life)}", timeout: 5s,'
            f" retry: {{schedule: [50ms]}}}}\n"
            for name in self.named
        )
        routes = "".join(
            f"      - {{when: {{json: /custom_field1, is: {field}}}, upstreams:"
            f" [{', '.join(self.by_field[field])}]}}\n"
            for field in _FIELDS[:-1]
        )
        return (
            f"{_HEAD}upstreams:\n{urls}endpoints:\n"
            "  - name: midtrans\n    path: /midtrans\n    provider: midtrans\n"
            '    environment: sandbox\n    secrets: ["${env:MIDTRANS_SERVER_KEY}"]\n'
            f"    upstreams: [{', '.join(self.by_field[_FIELDS[-1]])}]\n    routes:\n{routes}"
        )


def _file(chance: Random) -> File:
    """Return any configuration; the default is never nobody."""
    named = _some(UPSTREAMS, chance, least=2)
    by_field = {field: _some(named, chance, least=0) for field in _FIELDS[:-1]}
    return File(named, by_field | {_FIELDS[-1]: _some(named, chance, least=1)})


def _some(names: tuple[str, ...], chance: Random, least: int) -> tuple[str, ...]:
    return tuple(chance.sample(names, chance.randint(least, len(names))))


@dataclass
class Load:
    """Senders, and which files may have been in force for each message.

    begun, taken: how many files relay was told to take, and how many it has taken. expected: by
    body, everything that its destinations may be.
    """

    files: list[File]
    begun: int = 1
    taken: int = 1
    over: bool = False
    expected: dict[bytes, list[set[str]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    async def run(self, address: tuple[str, int]) -> None:
        """Send one message after the other until told to stop.

        Raises:
            AssertionError: one is not acknowledged.
        """
        while not self.over:
            value = _FIELDS[next(self._numbers) % len(_FIELDS)]
            body = midtrans_body(custom_field1=value)
            headers = [("Content-Type", "application/json"), ("X-Forwarded-For", MIDTRANS)]
            first = self.taken - 1
            reply = await exchange(address, request("POST", "/midtrans", headers, body))
            assert reply.status == 200, reply
            in_force = self.files[first : self.begun]
            self.expected[body] = [set(each.by_field[value]) for each in in_force]


@lengths(short=15, long=150)
async def test_reloads_move_no_event_that_is_stored(times: int, tmp_path: Path) -> None:
    chance = dice()
    async with AsyncExitStack() as stack:
        upstreams = {
            name: await stack.enter_async_context(MoodyUpstream(chance)) for name in UPSTREAMS
        }
        load = Load([_file(chance)])
        relays = Restarts(tmp_path, ENVIRON, lambda life: load.files[-1].text(upstreams, life))
        before: dict[str, set[str]] = {}
        async with relays.next(program=_PROGRAM) as life, asyncio.TaskGroup() as group:
            swinging = [group.create_task(each.swing(4)) for each in upstreams.values()]
            sending = [group.create_task(load.run(life.public[0])) for _ in range(4)]
            for _ in range(times):
                await asyncio.sleep(chance.uniform(0, _SERVING))
                before |= _destinations(audit_running(relays.spool))
                await _reload(life, load, _file(chance), relays, upstreams)
            load.over = True
            await asyncio.gather(*sending)
            waited = audit_running(relays.spool).having("pending", "leased")
            # Every upstream has a name again; the routes lead where they did not before.
            last = File(UPSTREAMS, dict.fromkeys(_FIELDS, ("mail",)))
            await _reload(life, load, last, relays, upstreams)
            for each in swinging:
                each.cancel()
            assert await wait_until(lambda: _is_settled(relays), _PATIENCE), "never delivered"
            audit = await check_consistency(life, relays)
            assert await life.end() == 0
            assert life.noise == []
    found = _destinations(audit)
    assert {event_id: found[event_id] for event_id in before} == before, "an event was moved"
    bodies = {row.id: row.body for row in (*audit.rows, *audit.unrouted)}
    assert set(bodies.values()) == load.expected.keys()
    for event_id, destinations in found.items():
        assert destinations in load.expected[bodies[event_id]], event_id
    for name, upstream in upstreams.items():
        wanted = {event_id for event_id, destinations in found.items() if name in destinations}
        assert upstream.told.keys() == wanted
        assert all(len(told.delivered) == 1 for told in upstream.told.values())
    tell(
        reloads=times,
        stored=len(found),
        destinations=len(audit.rows),
        unrouted=len(audit.unrouted),
        waited_at_the_last_reload=len(waited),
    )


async def _reload(
    life: Life,
    load: Load,
    file: File,
    relays: Restarts,
    upstreams: Mapping[str, MoodyUpstream],
) -> None:
    load.files.append(file)
    relays.config.write_text(file.text(upstreams, relays.number))
    load.begun += 1
    reply = await exchange(life.admin, request("POST", "/-/reload", [BEARER]))
    assert reply.status == 200, reply
    load.taken += 1


def _destinations(audit: SpoolAudit) -> dict[str, set[str]]:
    """Return the upstreams of each event."""
    found: dict[str, set[str]] = {row.id: set() for row in audit.unrouted}
    for row in audit.rows:
        found.setdefault(row.id, set()).add(row.upstream)
    return found


def _is_settled(relays: Restarts) -> bool:
    return not audit_running(relays.spool).having("pending", "leased")
