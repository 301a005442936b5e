-- Bulk sends: one accept of many messages, looked at and taken back as one.
CREATE TABLE bulk_operations (
    id              uuid PRIMARY KEY,
    account_id      int NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    send_at         timestamptz,
    recipients      int NOT NULL,          -- as asked for
    unaddressable   jsonb NOT NULL,        -- those that no message was made for, with their errors
    tags            jsonb,
    canceled_at     timestamptz,
    idempotency_key text,
    digest          bytea
);
CREATE INDEX bulk_operations_account ON bulk_operations (account_id, id);
CREATE UNIQUE INDEX bulk_operations_key ON bulk_operations (account_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

ALTER TABLE messages ADD COLUMN operation_id uuid;
CREATE INDEX messages_operation ON messages (operation_id, id) WHERE operation_id IS NOT NULL;
