-- `send_at`: when a scheduled message is to be let in like a new one. It stays when that is done,
-- because a message's id tells when it was created, and a restart must find what was sent lately.
-- `extras`: create parameters that few messages have, by API field name; null: none.
ALTER TABLE messages
    ADD COLUMN send_at timestamptz,
    ADD COLUMN extras jsonb;

-- What is still to be let in, by its time. (`waiting` is indexed already: no update of another
-- message loses its place in its page.)
CREATE INDEX messages_scheduled ON messages (send_at)
    WHERE send_at IS NOT NULL AND waiting IS NOT NULL;
CREATE INDEX messages_sent_later ON messages (send_at) WHERE send_at IS NOT NULL;

-- Messages whose text or recipient is to be forgotten (gateway.messages.message.Flag: 8 and 16); the
-- bits are cleared when that is done. Others change their flags so rarely that they keep their pages.
CREATE INDEX messages_forgetting ON messages (id) WHERE flags & 24 <> 0;

-- What the app learnt of a message that was created with ProvideFeedback.
CREATE TABLE message_feedback (
    message_id uuid PRIMARY KEY,
    account_id int NOT NULL,
    outcome    text NOT NULL,          -- confirmed, unconfirmed
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
