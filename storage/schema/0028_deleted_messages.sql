-- That a message was deleted through the API, and nothing of what it said or to whom: without it a
-- reconciliation could not tell it from a row that was lost. Kept as long as the journal is.
CREATE TABLE deleted_messages (
    message_id uuid PRIMARY KEY,
    reference  int,                    -- as the row had it: what told its submits apart
    deleted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deleted_messages_at ON deleted_messages (deleted_at);
