-- What was learnt by asking a provider: nobody called. Such an event and a delivery of the same key
-- are one event, though they are not worded alike.
ALTER TABLE events ADD COLUMN reconciled INTEGER NOT NULL DEFAULT 0;
