-- What may hold a message's text while the message itself, or its place in a conversation, is gone:
-- it is found by the messages whose text it is.
ALTER TABLE conversation_events ADD COLUMN IF NOT EXISTS messages uuid[];
CREATE INDEX IF NOT EXISTS conversation_events_messages ON conversation_events USING gin (messages)
    WHERE messages IS NOT NULL;
