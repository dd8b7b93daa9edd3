-- Bodies with a token in them.
CREATE INDEX events_tokens ON events (received_at) WHERE flags & 32;

-- A triple of signed values that comes again is known by `restated`.
DROP TABLE triples;
