-- Times are microseconds since 1970, UTC.

CREATE TABLE events (
    seq              INTEGER PRIMARY KEY,  -- the order of receipt
    id               TEXT    NOT NULL UNIQUE,
    endpoint         TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    environment      TEXT    NOT NULL,
    upstream         TEXT    NOT NULL,
    key              TEXT    NOT NULL,
    content          BLOB    NOT NULL,
    restated         BLOB,                 -- the same for one event under several keys
    subject          TEXT,
    opening          INTEGER NOT NULL,
    method           TEXT    NOT NULL,
    suffix           TEXT    NOT NULL,
    headers          TEXT    NOT NULL,     -- JSON, [[name, value], ...]
    client           TEXT    NOT NULL,
    received_at      INTEGER NOT NULL,
    signed           TEXT    NOT NULL,     -- JSON, [name, ...]
    confirm          INTEGER NOT NULL DEFAULT 0,  -- not to go out before its provider was asked
    conflicts_with   TEXT,
    out_of_order     INTEGER NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN
                         ('pending', 'leased', 'delivered', 'dead', 'held', 'passed', 'test')),
    -- Where a pending event stands. ready: may be claimed. waiting: not before due_at.
    -- behind: an earlier event of its lane comes first; found out by a claim that keeps order.
    place            TEXT    CHECK (place IN ('ready', 'waiting', 'behind')),
    attempts         INTEGER NOT NULL DEFAULT 0,
    earlier_attempts INTEGER NOT NULL DEFAULT 0,  -- those before the last requeue
    since            INTEGER NOT NULL,            -- receipt, or the last requeue
    due_at           INTEGER,
    lease_until      INTEGER,
    settled_at       INTEGER,
    last_outcome     TEXT,
    -- Events of one lane can be kept in order: those about one subject, or else of one key.
    lane             TEXT    GENERATED ALWAYS AS
                         (iif(subject IS NULL, 'key ' || key, 'subject ' || subject)) VIRTUAL,
    checksum         TEXT    NOT NULL,
    body             BLOB,                 -- last, so that the rest is read without it
    UNIQUE (key, endpoint, content),
    CHECK ((status = 'pending') = (place IS NOT NULL)),
    CHECK ((status = 'leased') = (lease_until IS NOT NULL))
) STRICT;

-- Work. Every index here holds unfinished events only, so history costs a claim nothing.
CREATE INDEX events_ready   ON events (upstream)              WHERE place = 'ready';
CREATE INDEX events_waiting ON events (upstream, due_at)      WHERE place = 'waiting';
CREATE INDEX events_behind  ON events (upstream)              WHERE place = 'behind';
CREATE INDEX events_leased  ON events (upstream, lease_until) WHERE status = 'leased';
CREATE INDEX events_lane    ON events (upstream, endpoint, lane, seq, status)
    WHERE status IN ('pending', 'leased');

-- One event, though its sender gave it another key.
CREATE UNIQUE INDEX events_restated ON events (endpoint, restated) WHERE restated IS NOT NULL;

-- What an opening event looks for: a later state of its subject.
CREATE INDEX events_subject ON events (endpoint, subject)
    WHERE opening = 0 AND subject IS NOT NULL;

-- History, newest first; each ends with seq, as every index does.
CREATE INDEX events_received ON events (received_at);
CREATE INDEX events_status   ON events (status, received_at)
    WHERE status IN ('pending', 'dead', 'held', 'test');
CREATE INDEX events_endpoint ON events (endpoint, received_at);

-- Records that may be removed when their time has come; what is dead or held stays.
CREATE INDEX events_settled ON events (received_at)
    WHERE status IN ('delivered', 'passed', 'test');

-- Bodies that may be removed when their time has come.
CREATE INDEX events_body ON events (received_at)
    WHERE body IS NOT NULL AND status IN ('delivered', 'passed', 'test');

-- The next of a lane moves up when the one before it is finished, whatever finished it: an event
-- left `behind` by nobody would never be delivered.
CREATE TRIGGER events_next AFTER UPDATE OF status ON events
WHEN old.status IN ('pending', 'leased') AND new.status NOT IN ('pending', 'leased')
    AND EXISTS (SELECT 1 FROM events WHERE upstream = new.upstream AND place = 'behind')
BEGIN
    UPDATE events SET place = 'ready'
    WHERE place = 'behind' AND seq = (
        SELECT seq FROM events
        WHERE upstream = new.upstream AND endpoint = new.endpoint AND lane = new.lane
            AND status IN ('pending', 'leased')
        ORDER BY seq LIMIT 1
    );
END;

-- How many events there are, kept as they change: counting a month of them takes seconds.
CREATE TABLE tallies (
    endpoint TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    events   INTEGER NOT NULL,
    PRIMARY KEY (endpoint, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tallies_insert AFTER INSERT ON events
BEGIN
    INSERT INTO tallies VALUES (new.endpoint, new.status, 1)
    ON CONFLICT (endpoint, status) DO UPDATE SET events = events + 1;
END;

CREATE TRIGGER tallies_update AFTER UPDATE OF status ON events WHEN old.status <> new.status
BEGIN
    UPDATE tallies SET events = events - 1 WHERE endpoint = old.endpoint AND status = old.status;
    INSERT INTO tallies VALUES (new.endpoint, new.status, 1)
    ON CONFLICT (endpoint, status) DO UPDATE SET events = events + 1;
END;

CREATE TRIGGER tallies_delete AFTER DELETE ON events
BEGIN
    UPDATE tallies SET events = events - 1 WHERE endpoint = old.endpoint AND status = old.status;
END;

-- Readiness is asked by writing here: what cannot be written could not be accepted either.
CREATE TABLE probe (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    filler BLOB NOT NULL
) STRICT;
