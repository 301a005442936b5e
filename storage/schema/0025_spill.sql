-- What waits in rows only, because memory holds enough of its sender's queue, expires here too.
CREATE INDEX messages_waiting_until ON messages (expires_at) WHERE waiting IS NOT NULL;
