-- Which messages' texts the answer of an app may quote, in an alert about the asking.
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS messages uuid[];
CREATE INDEX IF NOT EXISTS alerts_messages ON alerts USING gin (messages) WHERE messages IS NOT NULL;

-- Replies to inbound messages whose alerts may quote them: they stood in the answer that was wrong.
CREATE TABLE IF NOT EXISTS alert_replies (
    reply_id   uuid PRIMARY KEY,
    inbound_id uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS alert_replies_inbound ON alert_replies (inbound_id);
CREATE INDEX IF NOT EXISTS alert_replies_at ON alert_replies (at);
