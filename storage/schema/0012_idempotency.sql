-- Keys that clients gave with a send call: written by the transaction that stores the message, so
-- that a repeat finds it, whatever happened to the answer. Kept for a day.
CREATE TABLE idempotency (
    account_id int NOT NULL,
    key        text NOT NULL,
    digest     bytea NOT NULL,         -- SHA-256 of the parameters: the same key is the same request
    message_id uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_at ON idempotency (at);
CREATE INDEX idempotency_message ON idempotency (message_id);
