"""Refused deliveries in SQLite: the statements, and the store that runs them."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from typing import Final

import apsw
import orjson

from relay.core.errors import Reason
from relay.core.request import ClientAddress, Headers, RequestHead, Via
from relay.spool.refusals import RefusalLimits, RefusalPage, RefusalQuery, Refused, StoredRefusal
from relay.spool.sqlite import content, events
from relay.spool.sqlite.finding import Needle
from relay.spool.sqlite.keyring import FindKey, Keyring
from relay.spool.sqlite.reader import Reader
from relay.spool.sqlite.writer import Writer

# ---- statements -----------------------------------------------------------------------------

_KEEP: Final = """
INSERT INTO refusals (
    id, endpoint, provider, reason, detail, peer, client, client_via, method, target, headers,
    received_at, signature_fits, secret, refs, fingerprint, size, sealed_by, body
)
VALUES (
    :id, :endpoint, :provider, :reason, :detail, :peer, :client, :client_via, :method, :target,
    :headers, :received_at, :signature_fits, :secret, :refs, :fingerprint, :size, :sealed_by, :body
)
ON CONFLICT (fingerprint) DO UPDATE SET times = times + 1
"""

# The size of what nothing vouches for is negative: so its share is counted apart by the index.

_CROWDED: Final = """
DELETE FROM refusals WHERE seq IN (
    SELECT seq FROM refusals WHERE client = :client AND size >= 0
    ORDER BY seq DESC LIMIT -1 OFFSET :most
)
"""

# Of one network: addresses that begin with the same letters.
_CROWDED_NETWORK: Final = """
DELETE FROM refusals WHERE seq IN (
    SELECT seq FROM refusals WHERE client >= :first AND client < :behind AND size < 0
    ORDER BY seq DESC LIMIT -1 OFFSET :most
)
"""

_VOUCHED: Final = "size >= 0"
_UNVOUCHED: Final = "size < 0"
_TOTAL: Final = "SELECT count(*), total(abs(size)) FROM refusals WHERE {share}"
_OLDEST: Final = (
    "SELECT seq, abs(size) FROM refusals WHERE {share} AND seq > :behind ORDER BY seq LIMIT :limit"
)
_UP_TO: Final = "DELETE FROM refusals WHERE seq <= :seq AND {share}"

_NAMES: Final = (
    *("id", "endpoint", "provider", "reason", "detail", "peer", "client", "client_via", "method"),
    *("target", "headers", "received_at", "times", "tried_at", "released_as"),
    *("signature_fits", "secret", "refs", "sealed_by"),
)
_COLUMNS: Final = ", ".join(_NAMES)

_PAGE: Final = f"""
SELECT {_COLUMNS}, seq FROM refusals WHERE {{conditions}} ORDER BY seq DESC LIMIT :limit
"""  # noqa: S608 - columns and conditions, no values

_ONE: Final = f"SELECT {_COLUMNS}, body FROM refusals WHERE id = :id"  # noqa: S608 - columns

# A letter behind all that an id may go on with.
_STARTING: Final = """
SELECT id FROM refusals WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT ?2
"""

_CONDITIONS: Final = {
    "endpoint": "endpoint = :endpoint",
    "reason": "reason = :reason",
    "after": "seq < :after",
    "released": "(released_as IS NOT NULL) = :released",
}

# All that are kept are few enough to be looked at one by one.
_FOUND: Final = """
(
    (id >= CAST(:id AS TEXT) AND id < CAST(:behind_id AS TEXT))
    OR released_as = CAST(:first AS TEXT)
    OR (
        instr(refs, CAST(:needle AS TEXT)) > 0 AND EXISTS (
            SELECT 1 FROM json_each(refs) AS named
            WHERE json_extract(named.value, '$[1]') >= CAST(:first AS TEXT)
                AND json_extract(named.value, '$[1]') < CAST(:behind AS TEXT)
        )
    )
)
"""

_STILL: Final = """
UPDATE refusals SET reason = :reason, detail = :detail, tried_at = :at
WHERE id = :id AND released_as IS NULL
"""

# A released one is an event now, which has the content. A query may hold a token.
_RELEASED: Final = """
UPDATE refusals SET released_as = :event, tried_at = :at, headers = '[]', body = x'', size = 0,
    sealed_by = NULL,
    target = substr(target, 1, instr(target || '?', '?') - 1)
WHERE id = :id
"""

_PRUNE: Final = """
DELETE FROM refusals
WHERE seq IN (SELECT seq FROM refusals WHERE received_at < :before LIMIT :limit)
"""


def parameters(refused: Refused) -> events.Parameters:
    """Return the values of an `INSERT`."""
    head = refused.head
    headers = orjson.dumps(list(head.headers))
    same = (refused.endpoint, head.method, head.target)
    identity = orjson.dumps([*same, len(headers)]) + headers + refused.body
    return {
        "id": refused.id,
        "endpoint": refused.endpoint,
        "provider": refused.provider,
        "reason": refused.reason.value,
        "detail": refused.detail,
        "peer": str(head.peer),
        "client": _text(refused),
        "client_via": refused.client.via.value,
        "method": head.method,
        "target": head.target,
        "headers": headers.decode(),
        "received_at": events.micros(head.received_at),
        "signature_fits": int(refused.signature_fits),
        "secret": refused.secret,
        "refs": orjson.dumps(refused.references).decode(),
        "fingerprint": sha256(identity).digest(),
        "size": refused.size if refused.vouched else -refused.size,
        "sealed_by": None,
        "body": refused.body,
    }


def keep(
    connection: apsw.Connection,
    keyring: Keyring,
    refused: Sequence[events.Parameters],
    bounds: RefusalLimits,
) -> None:
    """Keep these, and remove what is past the bounds; all of it or nothing."""
    writes = keyring.writes
    rows = refused if writes is None else [content.sealed_refusal(writes, row) for row in refused]
    with connection:
        connection.executemany(_KEEP, rows)
        for client, is_vouched in {_counted(row) for row in refused}:
            if is_vouched:
                connection.execute(_CROWDED, {"client": client, "most": bounds.per_address})
            else:
                # A letter behind all that an address may go on with.
                network = {"first": client, "behind": f"{client}~", "most": bounds.per_network}
                connection.execute(_CROWDED_NETWORK, network)
        _shrink(connection, _VOUCHED, bounds.number, bounds.size)
        _shrink(connection, _UNVOUCHED, bounds.unvouched, bounds.unvouched_size)


def _counted(row: events.Parameters) -> tuple[str, bool]:
    """Return the client or network that a row counts for, and whether something vouches for it."""
    client, size = row["client"], row["size"]
    assert isinstance(client, str)  # noqa: S101 - as `parameters` makes them
    assert isinstance(size, int)  # noqa: S101 - likewise
    return (client, True) if size >= 0 else (_network(client), False)


def _shrink(connection: apsw.Connection, share: str, most: int, most_bytes: int) -> None:
    """Remove the oldest of one share that are past its bounds."""
    [(number, size)] = events.fetch(connection, _TOTAL.format(share=share), ())
    excess, surplus = number - most, size - most_bytes
    last = 0
    while excess > 0 or surplus > 0:
        oldest = _OLDEST.format(share=share)
        rows = events.fetch(connection, oldest, {"limit": 100, "behind": last})
        if not rows:
            break
        for seq, freed in rows:
            if excess <= 0 and surplus <= 0:
                break
            last, excess, surplus = seq, excess - 1, surplus - freed
    if last:
        connection.execute(_UP_TO.format(share=share), {"seq": last})


def _text(refused: Refused) -> str:
    """Return the client as it is stored: written out where it is counted by its network."""
    address = refused.client.address
    return str(address) if refused.vouched else address.exploded


def _network(client: str) -> str:
    """Return what the addresses of a network begin with: 24 bits of IPv4, 48 of IPv6."""
    if ":" in client:
        return ":".join(client.split(":")[:3]) + ":"
    return client.rpartition(".")[0] + "."


def page(connection: apsw.Connection, keyring: Keyring, query: RefusalQuery) -> RefusalPage:
    """Return one page, the last kept first.

    Raises:
        ValueError: `after` was not the `next` of a page, or the limit is not positive.
        KeyMissing: one is sealed with a key that is not named.
    """
    if query.limit < 1:
        raise ValueError(f"a limit is at least 1, not {query.limit}")
    given = {
        "endpoint": query.endpoint,
        "reason": None if query.reason is None else query.reason.value,
        "after": None if query.after is None else _position(query.after),
        "released": query.released,
    }
    values: events.Parameters = {name: value for name, value in given.items() if value is not None}
    wanted = [_CONDITIONS[name] for name in values]
    if query.find is not None:
        try:
            needle = Needle(query.find)
        except UnicodeEncodeError:
            return RefusalPage((), None)
        wanted.append(_FOUND)
        values |= needle.head | needle.id
    conditions = " AND ".join(wanted) or "TRUE"
    # One more than asked for tells whether there is another page.
    statement = _PAGE.format(conditions=conditions)
    found = events.fetch(connection, statement, values | {"limit": query.limit + 1})
    shown = found[: query.limit]
    more = str(shown[-1][-1]) if len(found) > len(shown) else None
    find = partial(keyring.find, connection)
    return RefusalPage(tuple(_stored(row[:-1], None, find) for row in shown), more)


def get(connection: apsw.Connection, keyring: Keyring, refusal_id: str) -> StoredRefusal | None:
    """Return one with its body, or None when there is none of this id.

    Raises:
        SpoolUnavailable: it is damaged, or (`KeyMissing`) sealed with a key that is not named.
    """
    for row in events.fetch(connection, _ONE, {"id": refusal_id}):
        return _stored(row[:-1], row[-1], partial(keyring.find, connection))
    return None


def starting_with(connection: apsw.Connection, beginning: str, limit: int) -> tuple[str, ...]:
    """Return up to `limit` ids that begin like this, in their order."""
    try:
        rows = events.fetch(connection, _STARTING, (beginning, limit))
    except UnicodeEncodeError:
        return ()
    return tuple(found for (found,) in rows)


def mark_refused(
    connection: apsw.Connection, refusal_id: str, reason: Reason, detail: str, at: datetime
) -> None:
    """Record why it is refused now."""
    values = {"id": refusal_id, "reason": reason.value, "detail": detail, "at": events.micros(at)}
    connection.execute(_STILL, values)


def mark_released(
    connection: apsw.Connection, refusal_id: str, event_id: str, at: datetime
) -> None:
    """Record the event that it became, and remove its content."""
    connection.execute(_RELEASED, {"id": refusal_id, "event": event_id, "at": events.micros(at)})


def prune(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Remove up to `limit` that came first before this time; return how many."""
    connection.execute(_PRUNE, {"before": events.micros(before), "limit": limit})
    return connection.changes()


def _position(after: str) -> int:
    # As many digits as SQLite's integers surely hold.
    if not re.fullmatch(r"[0-9]{1,18}", after, re.ASCII):
        raise ValueError(f'"{after}" is not the `next` of a page')
    return int(after)


def _stored(row: events.Row, body: bytes | None, find: FindKey) -> StoredRefusal:
    """Return a refusal; body: None leaves it out."""
    values = dict(zip(_NAMES, row, strict=True))
    fields, target, body = content.opened_refusal(find, values, body)
    head = RequestHead(
        method=values["method"],
        target=target,
        headers=Headers(tuple((name, value) for name, value in fields)),
        peer=ip_address(values["peer"]),
        received_at=events.moment(values["received_at"]),
    )
    refused = Refused(
        id=values["id"],
        endpoint=values["endpoint"],
        provider=values["provider"],
        reason=Reason(values["reason"]),
        detail=values["detail"],
        head=head,
        client=ClientAddress(ip_address(values["client"]), Via(values["client_via"])),
        body=body or b"",
        signature_fits=bool(values["signature_fits"]),
        secret=values["secret"],
        references=tuple((name, text) for name, text in orjson.loads(values["refs"])),
    )
    tried_at = None if values["tried_at"] is None else events.moment(values["tried_at"])
    return StoredRefusal(refused, values["times"], tried_at, values["released_as"])


# ---- the store, through the spool's own writer and reader -----------------------------------


class SqliteRefusals:
    """A `relay.spool.refusals.RefusalStore`; open as long as its spool is."""

    def __init__(self, writer: Writer, reader: Reader, keyring: Keyring) -> None:
        self._writer = writer
        self._reader = reader
        self._keyring = keyring

    async def keep(self, refused: Sequence[Refused], bounds: RefusalLimits) -> None:
        kept = [parameters(each) for each in refused]
        # A full disk keeps its last space for what was acknowledged.
        step = partial(keep, keyring=self._keyring, refused=kept, bounds=bounds)
        await self._writer.run(step, is_intake=True)

    async def page(self, query: RefusalQuery) -> RefusalPage:
        return await self._reader.run(partial(page, keyring=self._keyring, query=query))

    async def get(self, refusal_id: str) -> StoredRefusal | None:
        step = partial(get, keyring=self._keyring, refusal_id=refusal_id)
        return await self._reader.run(step)

    async def starting_with(self, beginning: str, limit: int) -> tuple[str, ...]:
        return await self._reader.run(partial(starting_with, beginning=beginning, limit=limit))

    async def mark_refused(
        self, refusal_id: str, reason: Reason, detail: str, at: datetime
    ) -> None:
        note = partial(mark_refused, refusal_id=refusal_id, reason=reason, detail=detail, at=at)
        await self._writer.run(note)

    async def mark_released(self, refusal_id: str, event_id: str, at: datetime) -> None:
        note = partial(mark_released, refusal_id=refusal_id, event_id=event_id, at=at)
        await self._writer.run(note)

    async def prune(self, before: datetime, limit: int) -> int:
        return await self._writer.run(partial(prune, before=before, limit=limit))
