-- What the processes of one machine reckon steady time by: the first of them since its start said so.
CREATE TABLE epoch (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    boot  TEXT    NOT NULL,
    began INTEGER NOT NULL             -- the steady time at that start
) STRICT;
