-- Times are microseconds since 1970, UTC: those of receipt and settlement by the wall clock, those
-- of queues and leases by steady time.

-- Keys the digests below, so that nobody outside can search for two that collide.
CREATE TABLE salt (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    salt BLOB    NOT NULL
) STRICT;
INSERT INTO salt VALUES (1, randomblob(32));

-- Upstreams and endpoints.
CREATE TABLE names (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    -- Of an upstream: 0 not in order, 1 in order; above, its lanes are being written down: it is
    -- two more than the event up to which they are.
    ordered INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What was received. Updated only to remove a body, or to move `look` to the next of a conflict.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY,  -- the order of receipt
    id             TEXT    NOT NULL UNIQUE,
    look           BLOB,                 -- digest of endpoint and key; of a conflict, of content too
    content        BLOB    NOT NULL,
    restated       BLOB,                 -- digest: the same for one event under several keys
    endpoint       INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    flags          INTEGER NOT NULL,     -- bits, see events.py; 256 and above: a proxied delivery
    conflicts_with TEXT,
    key_look       BLOB,                 -- of a conflict: the digest of endpoint and key
    head           BLOB    NOT NULL,     -- JSON, see events.py
    seal           BLOB    NOT NULL,     -- digest of what an upstream is sent
    sealed_by      INTEGER,              -- the key that body and header fields are encrypted with
    body           BLOB                  -- last, so that the rest is read without it
) STRICT;

CREATE UNIQUE INDEX events_look     ON events (look)     WHERE look IS NOT NULL AND flags < 256;
CREATE UNIQUE INDEX events_restated ON events (restated) WHERE restated IS NOT NULL;
CREATE INDEX events_conflicts ON events (key_look) WHERE key_look IS NOT NULL;
-- By number: to find a proxied delivery by its key is rare, and may read them all. Sorted by the
-- digest, each would write a page of its own.
CREATE INDEX events_proxied   ON events (seq, look) WHERE flags >= 256;

-- History, newest first; each ends with seq, as every index does.
CREATE INDEX events_received ON events (received_at);
CREATE INDEX events_endpoint ON events (endpoint, received_at);

-- Bodies that may be removed when their time has come.
CREATE INDEX events_body ON events (received_at) WHERE body IS NOT NULL;

-- The newest later state of each subject, by a digest of endpoint and subject.
CREATE TABLE subjects (
    hash INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT;

-- The first event of each triple of signed values that may come again under another transaction.
CREATE TABLE triples (
    look BLOB PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An event has one destination for each upstream. Each lies in exactly one of queue, inhand and
-- settled, and moves by DELETE and INSERT in one transaction.

CREATE TABLE queue (
    upstream INTEGER NOT NULL,
    -- 0 ready (at is 0), 1 waiting until `at`, 2 behind an earlier event of its lane (at is 0)
    place    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    earlier  INTEGER NOT NULL,           -- attempts before the last requeue
    since    INTEGER NOT NULL,           -- receipt, or the last requeue
    due      INTEGER NOT NULL,
    last     TEXT,                       -- outcome of the last attempt
    lane     INTEGER,                    -- digest of what is kept in order; NULL where nothing is
    PRIMARY KEY (upstream, place, at, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX queue_event ON queue (seq, upstream);
CREATE INDEX queue_lane ON queue (upstream, lane, seq) WHERE lane IS NOT NULL;

-- Leased. Small, so that it is scanned for what has expired.
CREATE TABLE inhand (
    token    INTEGER PRIMARY KEY,        -- never the same twice
    seq      INTEGER NOT NULL,
    upstream INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,           -- this one included
    earlier  INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    last     TEXT,
    lane     INTEGER
) STRICT;

CREATE TABLE settled (
    seq      INTEGER NOT NULL,
    upstream INTEGER NOT NULL,
    state    INTEGER NOT NULL,           -- 1 delivered, 2 passed, 3 dead, 4 held, 5 test
    at       INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    earlier  INTEGER NOT NULL,
    took     INTEGER,                    -- of the last attempt
    outcome  TEXT,
    reason   TEXT,                       -- why it is held or dead, where the outcome does not tell
    PRIMARY KEY (seq, upstream)
) STRICT, WITHOUT ROWID;

-- A range: an index of a list of states would build the list for each row that is settled.
CREATE INDEX settled_stopped ON settled (state, seq) WHERE state > 2;

-- Every attempt but a first one that succeeded: that one is in `settled`.
CREATE TABLE attempts (
    n         INTEGER PRIMARY KEY,
    seq       INTEGER NOT NULL,
    upstream  INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT    NOT NULL,
    status    INTEGER,
    cause     TEXT,
    took      INTEGER,
    sealed_by INTEGER,
    answer    BLOB                       -- the first KiB of it
) STRICT;
CREATE INDEX attempts_event ON attempts (seq, upstream);

-- The ids that people search by, in sorted parts that are filled after the answers.
CREATE TABLE refs (
    part INTEGER NOT NULL,
    text TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (part, text, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE refs_to (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    part INTEGER NOT NULL,
    seq  INTEGER NOT NULL                -- filled up to this event
) STRICT;
INSERT INTO refs_to VALUES (1, 0, 0);

-- How many destinations there are, kept as they change: counting a month of them takes seconds.
CREATE TABLE tallies (
    endpoint   INTEGER NOT NULL,
    status     INTEGER NOT NULL,         -- a state of `settled`, or -2 pending, -1 leased
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (endpoint, status)
) STRICT, WITHOUT ROWID;

-- Upstreams that are delivered nothing until a person says so.
CREATE TABLE paused (
    upstream INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL
) STRICT;

-- The keys that anything here is encrypted with, told apart without the keys.
CREATE TABLE sealing_keys (
    id          INTEGER PRIMARY KEY,
    fingerprint BLOB    NOT NULL UNIQUE
) STRICT;

-- What people did, from where, to what.
CREATE TABLE audit (
    n      INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    origin TEXT    NOT NULL,
    act    TEXT    NOT NULL,
    detail TEXT    NOT NULL              -- JSON
) STRICT;
CREATE INDEX audit_at ON audit (at);

-- Deliveries that were refused and may be released.
CREATE TABLE refusals (
    seq            INTEGER PRIMARY KEY,  -- the order in which they were kept
    id             TEXT    NOT NULL UNIQUE,
    endpoint       TEXT    NOT NULL,
    provider       TEXT    NOT NULL,
    reason         TEXT    NOT NULL,     -- of the last verification
    detail         TEXT    NOT NULL,
    peer           TEXT    NOT NULL,
    client         TEXT    NOT NULL,
    client_via     TEXT    NOT NULL,
    method         TEXT    NOT NULL,
    target         TEXT    NOT NULL,
    headers        TEXT    NOT NULL,     -- JSON, [[name, value], ...]
    received_at    INTEGER NOT NULL,     -- the first time
    times          INTEGER NOT NULL DEFAULT 1,
    tried_at       INTEGER,              -- the last try to release it
    released_as    TEXT,                 -- the event that it became
    refs           TEXT    NOT NULL DEFAULT '[]',  -- JSON, [[name, text], ...]
    signature_fits INTEGER,              -- whether only its address was unknown
    secret         INTEGER,              -- position of the secret that fitted
    fingerprint    BLOB    NOT NULL UNIQUE,
    size           INTEGER NOT NULL,
    sealed_by      INTEGER,
    body           BLOB    NOT NULL      -- last, so that the rest is read without it
) STRICT;

-- The limits: how many one address has, and how large all are together.
CREATE INDEX refusals_client   ON refusals (client);
CREATE INDEX refusals_size     ON refusals (size);
CREATE INDEX refusals_received ON refusals (received_at);

-- What the processes of one machine reckon steady time by: the first of them since its start wrote
-- it down.
CREATE TABLE epoch (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    boot  TEXT    NOT NULL,
    began INTEGER NOT NULL               -- the steady time at that start
) STRICT;

-- Readiness is asked by writing here: what cannot be written could not be accepted either.
CREATE TABLE probe (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    filler BLOB    NOT NULL
) STRICT;

-- For people and tools: one row for each destination.
CREATE VIEW history AS
SELECT
    events.seq, events.id, endpoints.name AS endpoint, upstreams.name AS upstream,
    iif(json_valid(CAST(events.head AS TEXT)), json_extract(CAST(events.head AS TEXT), '$[4]'), '')
        AS key,
    CASE lies.state
        WHEN -2 THEN 'pending' WHEN -1 THEN 'leased' WHEN 1 THEN 'delivered' WHEN 2 THEN 'passed'
        WHEN 3 THEN 'dead' WHEN 4 THEN 'held' WHEN 5 THEN 'test'
    END AS status,
    lies.attempts, events.received_at, lies.due_at, lies.settled_at, lies.last_outcome,
    events.conflicts_with, events.body
FROM events
JOIN (
    SELECT seq, upstream, -2 AS state, attempts, due AS due_at, NULL AS settled_at,
        last AS last_outcome
    FROM queue
    UNION ALL SELECT seq, upstream, -1, attempts, due, NULL, last FROM inhand
    UNION ALL SELECT seq, upstream, state, attempts, NULL, iif(state = 5, NULL, at), outcome
    FROM settled
) AS lies ON lies.seq = events.seq
JOIN names AS endpoints ON endpoints.id = events.endpoint
JOIN names AS upstreams ON upstreams.id = lies.upstream;
