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
