"""Messages for several upstreams, for one or for none, and a relay whose routes send them there.

Where a message has to go is decided by its number, and stands in its body and header fields; relay
decides by these alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

from tests.crash.moods import MoodyUpstream
from tests.harness.deliveries import ENVIRON, MIDTRANS, midtrans_body
from tests.harness.restarts import Restarts, path_of
from tests.harness.wire import request

UPSTREAMS: Final = ("billing", "ledger", "audit", "mail")

#: The upstream that receives the events of an order in the order of their receipt.
ORDERED: Final = "ledger"

#: The endpoint that forwards what it receives, and keeps it for the history alone.
PROXIED: Final = "passed"


@dataclass(frozen=True, slots=True)
class Sort:
    """What is alike in many messages.

    field: a value in the body, and kind: that of a header field; none where empty. upstreams: where
    the routes of the endpoint send them.
    """

    endpoint: str
    field: str
    kind: str
    upstreams: tuple[str, ...]


#: As the routes below have it: the first that matches decides.
SORTS: Final = (
    Sort("several", "", "", ("billing", "ledger", "audit")),
    Sort("several", "charge", "", ("billing", "ledger")),
    Sort("one", "", "", ("ledger",)),
    Sort("several", "", "ping", ()),
    Sort("several", "refund", "", ("audit",)),
    Sort("several", "fee", "post", ("billing", "ledger")),
    Sort(PROXIED, "", "", ("mail",)),
    Sort("several", "refund", "post", ("audit",)),
    Sort("several", "other", "post", ("mail", "audit", "ledger", "billing")),
    Sort("one", "nowhere", "", ()),
    Sort("several", "charge", "ping", ()),
    Sort("one", "elsewhere", "", ("mail", "ledger")),
)

_CONFIGURATION: Final = """
listen: [{bind: "127.0.0.1:0"}]
trusted_proxies: ["127.0.0.1/32"]
admin: {bind: "127.0.0.1:0", token: "${env:RELAY_ADMIN_TOKEN}"}
spool: {path: relay.db}
shutdown_grace: 5s
endpoints:
  - name: several
    path: /several
    provider: midtrans
    environment: sandbox
    secrets: ["${env:MIDTRANS_SERVER_KEY}"]
    upstreams: [billing, ledger, audit]
    routes:
      - {when: {header: X-Kind, is: ping}, upstreams: []}
      - {when: {json: /custom_field1, is: refund}, upstreams: [audit]}
      - {when: {json: /custom_field1, in: [charge, fee]}, upstreams: [billing, ledger]}
      - {when: {header: X-Kind, in: [letter, post]}, upstreams: [mail, audit, ledger, billing]}
  - name: one
    path: /one
    provider: midtrans
    environment: sandbox
    secrets: ["${env:MIDTRANS_SERVER_KEY}"]
    upstream: ledger
    routes:
      - {when: {json: /custom_field1, is: elsewhere}, upstreams: [mail, ledger]}
      - {when: {json: /custom_field1, is: nowhere}, upstreams: []}
  - name: passed
    path: /passed
    provider: midtrans
    environment: sandbox
    secrets: ["${env:MIDTRANS_SERVER_KEY}"]
    upstream: mail
    mode: proxy
upstreams:
"""

_UPSTREAM: Final = """
  {name}:
    url: "{url}"
    timeout: 5s
    concurrency: 16
    order_by_key: {ordered}
    retry: {{schedule: [50ms], give_up_after: 72h}}
"""


def routed_lives(directory: Path, upstreams: Mapping[str, MoodyUpstream]) -> Restarts:
    """Return relays-to-be with the routes that `SORTS` are about, and these upstreams."""

    def text(life: int) -> str:
        parts = [_CONFIGURATION]
        for name, upstream in upstreams.items():
            ordered = "true" if name == ORDERED else "false"
            url = upstream.url + path_of(life)
            parts.append(_UPSTREAM.format(name=name, url=url, ordered=ordered))
        return "".join(parts)

    return Restarts(directory, ENVIRON, text)


# ---- the messages ---------------------------------------------------------------------------

#: Different orders, each with one transaction; several events are about the same one.
_ORDERS: Final = 97

#: Not signed, and a part of the event's key: no two messages are copies of one event.
_MARK: Final = "############"
_NUMBER: Final = re.compile(rb'"fraud_status": ?"(\d{12})"')


class RoutedMessages:
    """Messages by number; `sort_of` says what each is."""

    def __init__(self, dice: Random) -> None:
        statuses = ("pending", "settlement", "settlement", "expire")
        self._orders = [
            {
                "order_id": f"order-{number}",
                "transaction_id": str(UUID(int=number, version=4)),
                "transaction_status": dice.choice(statuses),
            }
            for number in range(_ORDERS)
        ]
        self._made: dict[tuple[int, str], bytes] = {}

    def sort_of(self, number: int) -> Sort:
        """Return what kind of message this is."""
        return SORTS[number % len(SORTS)]

    def body(self, number: int) -> bytes:
        """Return its body."""
        order, field = number % _ORDERS, self.sort_of(number).field
        if (order, field) not in self._made:
            said = {"custom_field1": field} if field else {}
            self._made[order, field] = midtrans_body(
                **self._orders[order], **said, fraud_status=_MARK
            )
        return self._made[order, field].replace(_MARK.encode(), b"%012d" % number)

    def request(self, number: int) -> bytes:
        """Return the request that brings it through a trusted proxy."""
        sort = self.sort_of(number)
        headers = [("Content-Type", "application/json"), ("X-Forwarded-For", MIDTRANS)]
        if sort.kind:
            headers.append(("X-Kind", sort.kind))
        return request("POST", f"/{sort.endpoint}", headers, self.body(number))


def number_of(body: bytes) -> int:
    """Return the number of the message with this body.

    Raises:
        AssertionError: there is none in it.
    """
    found = _NUMBER.search(body)
    assert found is not None, body
    return int(found[1])


def order_of(number: int) -> int:
    """Return which order this message is about."""
    return number % _ORDERS
