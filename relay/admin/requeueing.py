"""Requeueing as people ask for it: what they mean, how many that are, and doing it page by page.

The admin API, the operator page and the command line share it.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Final

from relay.admin.serializers import parse_event_query, requeue_problem, rfc3339
from relay.admin.upstreams import UnknownUpstream
from relay.spool import Spool
from relay.spool.history import LONGEST_SPREAD, Query, Requeueable, Requeued, Spread

#: Events that are requeued in one write: new ones wait behind it.
PAGE: Final = 100

#: The ids of so many events at most stand in the record of an act.
MOST_IDS: Final = 1000

_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be requeued: with an upstream in the query, the events' destinations there alone.

    to: the upstream that events go to besides those that they came for; None for none.
    rate: how fast, as it was written; None for at once. most: up to so many events; None for all.
    """

    query: Query
    to: str | None = None
    rate: str | None = None
    most: int | None = None

    def interval(self) -> timedelta:
        """Return the time between two events.

        Raises:
            ValueError: the rate is none; the message says what to write.
        """
        return timedelta() if self.rate is None else parse_rate(self.rate)

    def touched(self, number: int, ids: Collection[str]) -> dict[str, object]:
        """Return what the record of this act tells; `ids` are those of the events, if not many."""
        told: dict[str, object] = {"requeued": number}
        if len(ids) == number <= MOST_IDS:
            told = {"events": list(ids)}
        if not self.query.ids:
            told["filter"] = _filters(self.query)
        elif self.query.upstream is not None:
            told["upstream"] = self.query.upstream
        return told | _given(to=self.to, rate=self.rate, limit=self.most)


@dataclass
class Done:
    """What has been requeued so far: how many events, and the ids of the first `MOST_IDS`."""

    number: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, page: Requeued) -> None:
        """Add what came of one page."""
        self.number += len(page.ids)
        # One more tells that these are not all.
        self.ids += page.ids[: MOST_IDS + 1 - len(self.ids)]


def order_for(event_id: str, upstream: str | None, to: str | None) -> Order:
    """Return the order for one event.

    upstream: the one destination that is meant; None for all. to: as in `Order`.

    Raises:
        ValueError: both are given.
    """
    if upstream is not None and to is not None:
        raise ValueError("upstream: says which destination; to adds another one; give one of both")
    return Order(Query(ids=(event_id,), upstream=upstream), to)


def parse_order(given: Mapping[str, str], now: datetime) -> Order:
    """Return the order that these filters mean now, with `to`, `rate` and `limit` beside them.

    Raises:
        ValueError: one is unknown or unreadable, or there is no filter.
    """
    filters = {name: text for name, text in given.items() if name not in {"to", "rate", "limit"}}
    if "after" in filters:
        raise ValueError("after: a requeue has no pages")
    if not filters:
        raise ValueError("requeue needs a filter, such as status=dead; nothing was requeued")
    limit = parse_event_query({"limit": given["limit"]}, now).limit if "limit" in given else None
    order = Order(parse_event_query(filters, now), given.get("to"), given.get("rate"), limit)
    order.interval()
    return order


def parse_rate(text: str) -> timedelta:
    """Return the time between two events of a rate such as `50/s`, `10/m` or `5/h`.

    Raises:
        ValueError: it is none.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f'rate: "{text}" is none; write it as 50/s, 10/m or 5/h')
    return timedelta(seconds=_SECONDS[found[2]]) / int(found[1])


async def count(spool: Spool, order: Order, configured: Collection[str]) -> Requeueable:
    """Return what an order would do; nothing is done.

    Raises:
        UnknownUpstream: it goes to one that is not configured.
        ValueError: it has no filter, or would take longer than can be planned.
    """
    if order.to is not None and order.to not in configured:
        raise UnknownUpstream(order.to, configured)
    counted = await spool.requeueable(order.query, configured, to=order.to, most=order.most)
    if counted.events * order.interval() > LONGEST_SPREAD:
        hours = LONGEST_SPREAD // timedelta(hours=1)
        raise ValueError(
            f"{counted.events:,} events at {order.rate} take longer than {hours} hours, which is"
            " the most that can be planned: take a higher rate, or fewer of them (limit)"
        )
    return counted


async def requeue(
    spool: Spool,
    order: Order,
    configured: Collection[str],
    began: datetime,
    on_page: Callable[[Requeued], None],
) -> None:
    """Do what was counted, a page after the other; the oldest events come first.

    began: the present wall-clock time. What ends after it is not requeued once more.
    on_page: is told what came of each page; of the last one, too, where this is cancelled.
    """
    done, ids, interval = 0, order.query.ids, order.interval()
    for start in range(0, max(1, len(ids)), PAGE):
        query = replace(order.query, ids=ids[start : start + PAGE])
        while True:
            limit = PAGE if order.most is None else min(PAGE, order.most - done)
            if limit < 1:
                return
            writing = asyncio.ensure_future(
                spool.requeue(
                    replace(query, limit=limit),
                    configured,
                    to=order.to,
                    ended_before=began,
                    spread=Spread(interval * done, interval),
                )
            )
            try:
                page = await asyncio.shield(writing)
            except asyncio.CancelledError:
                # It is written all the same.
                on_page(await writing)
                raise
            done += len(page.ids)
            on_page(page)
            query = replace(query, after=page.next)
            if ids or len(page.ids) < limit:
                break


def counted_json(counted: Requeueable) -> dict[str, object]:
    """Return what an order would do as JSON; `status` is null where events are new to an upstream.

    The destinations may be more than the events.
    """
    return {
        "would_requeue": counted.events,
        "destinations": [
            {"upstream": upstream, "status": None if status is None else status.value, "number": n}
            for (upstream, status), n in sorted(
                counted.destinations.items(), key=lambda item: (item[0][0], item[0][1] or "")
            )
        ],
    }


def problem(event_id: str, done: Requeued, order: Order) -> str:
    """Return why an event was not requeued as this order says."""
    told = event_id in done.damaged or event_id in done.removed
    told = told or any(left == event_id for left, _ in done.unserved)
    gone = "or is a test message, or has no body any more"
    if not told and order.to is not None:
        return f"it is on its way to {order.to} already, {gone}"
    if not told and (there := order.query.upstream) is not None:
        return f"it is not dead, held or delivered at {there}, {gone}"
    return requeue_problem(event_id, done)


def _filters(query: Query) -> dict[str, object]:
    """Return the fields of a query that narrow it, as text."""
    found = {each.name: getattr(query, each.name) for each in fields(query)}
    return {
        name: rfc3339(value) if isinstance(value, datetime) else str(value)
        for name, value in found.items()
        if name not in {"ids", "limit"} and value is not None
    }


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
