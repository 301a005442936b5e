-- What was redacted or deleted is looked for by the message that it is about.
CREATE INDEX IF NOT EXISTS alerts_resource ON alerts (resource) WHERE request_method IS NOT NULL;
CREATE INDEX IF NOT EXISTS inbound_parts_message ON inbound_parts (message_id) WHERE message_id IS NOT NULL;
-- Addresses for which no message could be made are kept for a month.
CREATE INDEX IF NOT EXISTS bulk_operations_unaddressable ON bulk_operations (created_at)
    WHERE unaddressable <> '[]'::jsonb;
