-- Deliveries of the last days, by any process; hours are counted from 1970.
CREATE TABLE activity (
    hour       INTEGER NOT NULL,
    endpoint   TEXT    NOT NULL,
    verdict    TEXT    NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (hour, endpoint, verdict)
) STRICT, WITHOUT ROWID;

-- When each endpoint has last received what was taken.
CREATE TABLE last_deliveries (
    endpoint TEXT    PRIMARY KEY,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Networks that were refused since no list holds them: an IPv4 address, or 64 bits of IPv6.
CREATE TABLE strangers (
    endpoint TEXT    NOT NULL,
    network  TEXT    NOT NULL,
    address  TEXT    NOT NULL,           -- the last of it
    path     TEXT    NOT NULL,           -- what it asked for last
    times    INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    fits     INTEGER NOT NULL,           -- whether a signature of it fitted
    PRIMARY KEY (endpoint, network)
) STRICT, WITHOUT ROWID;

-- What is sealed, by the key that it needs: a start is refused while one is needed and not named.
CREATE INDEX events_sealed   ON events   (sealed_by) WHERE sealed_by IS NOT NULL;
CREATE INDEX attempts_sealed ON attempts (sealed_by) WHERE sealed_by IS NOT NULL;
CREATE INDEX refusals_sealed ON refusals (sealed_by) WHERE sealed_by IS NOT NULL;
