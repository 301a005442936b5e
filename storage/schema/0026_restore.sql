-- After a restore from a backup (docs/reliability.md): what may have been sent since the backup is
-- held. A held message has no shard to wait in and no callback URL, and its status is before the
-- claim, so that no stage finds it; what it had stands here until it is released or closed.
CREATE TABLE restores (
    as_of   timestamptz PRIMARY KEY,   -- the moment of the backup
    held_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE held_messages (
    message_id   uuid PRIMARY KEY,
    as_of        timestamptz NOT NULL REFERENCES restores,
    held_at      timestamptz NOT NULL DEFAULT now(),
    status       smallint NOT NULL,    -- that it had
    waiting      smallint,             -- the shard it waited in; null: it was claimed
    callback_url text,
    ended_at     timestamptz,          -- when it was released or closed; null: it is held
    released     boolean               -- which of the two it was
);
CREATE INDEX held_messages_held ON held_messages (message_id) WHERE ended_at IS NULL;
CREATE INDEX held_messages_ended ON held_messages (ended_at) WHERE ended_at IS NOT NULL;
