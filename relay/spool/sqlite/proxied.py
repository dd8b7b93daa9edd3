"""The history of deliveries that were passed on: rows, and writing a batch of them."""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import chain
from typing import Final

import apsw

from relay.core.event import ProxiedDelivery
from relay.core.json_pointer import masked
from relay.core.request import Keep
from relay.spool import ProxiedRow
from relay.spool.sqlite import content, events, removal
from relay.spool.sqlite.events import Tables, Tally
from relay.spool.sqlite.intake import newest, stored_of

_KEEP_PROXIED: Final = """
INSERT INTO events (
    seq, id, endpoint, received_at, look, head, seal, sealed_by, body, content, flags
)
VALUES (?,?,?,?,?,?,?,?,?,x'',?) ON CONFLICT DO NOTHING
"""

_KEEP_OUTCOME: Final = "INSERT INTO settled VALUES (?,?,2,?,1,0,NULL,?,NULL)"

#: What a delivery takes besides its body and its header fields, in bytes.
_ROW_BYTES: Final = 2048


def proxied_row(proxied: ProxiedDelivery) -> ProxiedRow:
    """Return what is recorded of a delivery that was forwarded: values, and no object of ours.

    They become columns when a batch is written: a loop over many of them costs half of what each
    by itself does, between other work.
    """
    delivery = proxied.delivery
    received, pointers = delivery.delivery, delivery.verification.tokens
    body, digest = received.body, received.body_sha256
    if pointers:
        # It has been passed on, and its tokens are needed no more.
        body = masked(body, pointers)
        digest = sha256(body).digest()
    parts, size, kept = events.head_parts(delivery), _ROW_BYTES, True
    if delivery.keep is not Keep.ALL:
        kept, digest = False, removal.EMPTY
    if delivery.keep is Keep.NONE:
        parts = removal.bare(parts)
    else:
        size += sum(map(len, chain.from_iterable(delivery.headers.fields)))
    return (
        received.endpoint,
        delivery.event_id,
        size + (len(body) if kept else 0),
        delivery.upstreams[0],
        parts,
        received.head.received_at,
        body if kept else None,
        digest,
        proxied.at,
        proxied.outcome,
    )


def record_proxied(
    connection: apsw.Connection, shared: Tables, proxied: Sequence[ProxiedRow]
) -> None:
    """Keep each of these, unless it is there already; all or none.

    Raises:
        ValueError: a text holds half a surrogate pair, and could not be stored.
    """
    names, digests, tally = shared.names, shared.digests, Tally()
    writes = shared.keyring.writes
    with connection:
        seq = newest(connection, names)
        named = dict.fromkeys(name for row in proxied for name in (row[0], row[3]))
        known = {name: names.number(connection, name) for name in named}
        rows, kept = [], []
        for endpoint, event_id, _, upstream, parts, came, body, digest, at, outcome in proxied:
            seq += 1
            flags = events.PROXIED if body is not None else events.PROXIED | events.REMOVED
            head, received = events.head_of(parts), events.micros(came)
            look, raw_id = digests.look(endpoint, parts[events.KEY]), event_id.encode()
            # What nothing is kept of needs no key.
            if writes is None or (body is None and not parts[events.HEADERS]):
                seal = events.seal(raw_id, received, flags, None, head=head, body_sha256=digest)
                told: content.Stored = (head, seal, None, body)
            else:
                told = content.stored(writes, raw_id, received, flags, None, head=head, body=body)
            rows.append((seq, event_id, known[endpoint], received, look, *told, flags))
            kept.append((seq, known[upstream], events.micros(at), events.outcome_text(outcome)))
        before = connection.total_changes()
        connection.executemany(_KEEP_PROXIED, rows)
        if connection.total_changes() - before != len(rows):
            stored = stored_of(connection, [row[0] for row in rows])
            rows = [row for row in rows if row[0] in stored]
            kept = [row for row in kept if row[0] in stored]
        connection.executemany(_KEEP_OUTCOME, kept)
        for place, number in Counter([row[2] for row in rows]).items():
            tally.add(place, events.PASSED, number)
        names.newest = seq
        tally.write(connection)
