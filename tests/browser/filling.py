"""A spool that was in use for a day, written by the spool's own methods."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from math import pi, sin
from pathlib import Path
from typing import Final

from relay.app.builder import bind_endpoint, known_registry
from relay.config import load
from relay.core.clock import SystemClock
from relay.core.errors import SpoolUnavailable
from relay.core.event import (
    Dead,
    Delivered,
    Done,
    Held,
    Lease,
    Rejected,
    Unconfirmed,
    Unreachable,
)
from relay.core.ids import event_ids
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    RequestHead,
    VerifiedDelivery,
    Via,
)
from relay.ingest.admission import Endpoint, verify_delivery
from relay.spool import Settlement
from relay.spool.activity import Activity, hour_of
from relay.spool.history import Query
from relay.spool.sqlite import SqliteSpool, open_spool
from tests.harness.deliveries import ENVIRON, MIDTRANS, midtrans_body

_DAY: Final = timedelta(days=1)
_LEASE: Final = timedelta(minutes=5)
_AT_ONCE: Final = 1000

_HEADERS: Final = Headers((("Content-Type", "application/json"), ("User-Agent", "Veritrans")))


def order_name(number: int) -> str:
    """Return the id of order so-and-so, below 100,000; each begins with five digits of its own."""
    return f"{number * 7919 % 100_000:05d}-order"


def fill(config: Path, number: int) -> None:
    """Put so many events of the last day into the spool: nearly all delivered, a few dead."""
    asyncio.run(_fill(config, number))


async def _fill(config: Path, number: int) -> None:
    clock = SystemClock()
    settings = load(config, ENVIRON)
    registry = known_registry(settings, clock)
    endpoint = bind_endpoint(settings.endpoints[0], registry, settings.limits.json_limits)
    spool = await open_spool(config.parent / "relay.db", clock)
    try:
        await spool.recover(_DAY)
        await _put(spool, _events(endpoint, number, clock))
        await _settle(spool)
        await _count(spool, clock.now())
    finally:
        await spool.close()


def _events(endpoint: Endpoint, number: int, clock: SystemClock) -> Iterator[VerifiedDelivery]:
    new_id, began = event_ids(), clock.now() - _DAY
    address = ip_address(MIDTRANS)
    for each in range(number):
        at = began + _DAY * (each / number)
        head = RequestHead("POST", endpoint.path, _HEADERS, address, at)
        body = midtrans_body(at, order_id=order_name(each))
        client = ClientAddress(address, Via.PEER)
        delivery = Delivery(endpoint.name, head, client, "", body)
        yield verify_delivery(endpoint, delivery, new_id(at))


async def _put(spool: SqliteSpool, events: Iterator[VerifiedDelivery]) -> None:
    async def store() -> None:
        for event in events:
            await spool.put(event)

    await asyncio.gather(*(store() for _ in range(_AT_ONCE)))


async def _settle(spool: SqliteSpool) -> None:
    number = 0
    while leases := (await spool.claim("billing", _AT_ONCE, _LEASE, ordered=False)).leases:
        settlements = [_settlement(lease, number + each) for each, lease in enumerate(leases)]
        number += len(leases)
        await _recorded(spool, settlements)


async def _recorded(spool: SqliteSpool, settlements: list[Settlement]) -> None:
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    spool.settle_all(settlements, done.set_result)
    said = await done
    assert not isinstance(said, SpoolUnavailable), said


def _settlement(lease: Lease, number: int) -> Settlement:
    if number % 997 == 150:
        answer = b'{"error": "no invoice of this number"}'
        return Settlement(lease, Dead(), Rejected(422), took=48_211, answer=answer)
    if number % 1999 == 700:
        return Settlement(lease, Dead(), Unreachable("timeout"), took=2_000_512)
    return Settlement(lease, Done(), Delivered(200), took=12_345)


async def _count(spool: SqliteSpool, now: datetime) -> None:
    """Write how many deliveries came in each hour of the day, as a shop has them."""
    counted = []
    for hours in range(24):
        hour = hour_of(now - timedelta(hours=hours))
        # Few at night, most in the evening; the shop is in Jakarta.
        busy = round(30 + 900 * max(0.0, sin(((hour.hour + 7) % 24 - 6) / 17 * pi)) ** 2)
        numbers = {"accepted": busy, "duplicate": busy // 40, "refused": busy // 190}
        for verdict, deliveries in numbers.items():
            counted.append(Activity(hour, "midtrans", verdict, deliveries))
        counted.append(Activity(hour, "vipps", "accepted", busy // 7))
    last = {"midtrans": now, "vipps": now - timedelta(minutes=4)}
    await spool.activity.add(counted, last)


# ---- one event, several destinations --------------------------------------------------------


def fill_destinations(config: Path) -> str:
    """Put one event into the spool that is delivered, dead and held; return its id.

    It is delivered at billing, dead at ledger and held at archive.
    """
    return asyncio.run(_fill_destinations(config))


async def _fill_destinations(config: Path) -> str:
    clock = SystemClock()
    settings = load(config, ENVIRON)
    registry = known_registry(settings, clock)
    endpoint = bind_endpoint(settings.endpoints[0], registry, settings.limits.json_limits)
    spool = await open_spool(config.parent / "relay.db", clock)
    try:
        await spool.recover(_DAY)
        [event] = _events(endpoint, 1, clock)
        await spool.put(event)
        for upstream in ("ledger", "archive"):
            await spool.requeue(Query(ids=(event.event_id,)), to=upstream)
        answer = b'{"error": "no account of this number"}'
        for upstream, decision, outcome in (
            ("billing", Done(), Delivered(200)),
            ("ledger", Dead(), Rejected(422)),
            ("archive", Held(), Unconfirmed("not_found")),
        ):
            [lease] = (await spool.claim(upstream, 1, _LEASE, ordered=False)).leases
            said = b"" if upstream == "billing" else answer
            await _recorded(spool, [Settlement(lease, decision, outcome, took=9_301, answer=said)])
    finally:
        await spool.close()
    return event.event_id
