-- Deliveries that were refused and may be mended. Times are microseconds since 1970, UTC.

CREATE TABLE refusals (
    seq         INTEGER PRIMARY KEY,  -- the order in which they were kept
    id          TEXT    NOT NULL UNIQUE,
    endpoint    TEXT    NOT NULL,
    provider    TEXT    NOT NULL,
    reason      TEXT    NOT NULL,     -- of the last verification
    detail      TEXT    NOT NULL,
    peer        TEXT    NOT NULL,
    client      TEXT    NOT NULL,
    client_via  TEXT    NOT NULL,
    method      TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    headers     TEXT    NOT NULL,     -- JSON, [[name, value], ...]
    received_at INTEGER NOT NULL,     -- the first time
    times       INTEGER NOT NULL DEFAULT 1,
    tried_at    INTEGER,              -- the last try to release it
    released_as TEXT,                 -- the event that it became
    fingerprint BLOB    NOT NULL UNIQUE,
    size        INTEGER NOT NULL,
    body        BLOB    NOT NULL      -- last, so that the rest is read without it
) STRICT;

-- The bounds: how many one address has, and how large all are together.
CREATE INDEX refusals_client   ON refusals (client);
CREATE INDEX refusals_size     ON refusals (size);
CREATE INDEX refusals_received ON refusals (received_at);
