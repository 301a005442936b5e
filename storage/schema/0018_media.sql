-- Media of messages: fetched from the app's server when the message was accepted, kept whole (a
-- message has at most 5 MB of them), and served under the message and under `code`, the unguessable
-- end of a link that works without credentials until `link_until`.
CREATE TABLE media (
    sid          text PRIMARY KEY,
    message_id   uuid NOT NULL,
    account_id   int NOT NULL,
    position     smallint NOT NULL,    -- in the order of the MediaUrl parameters, from 0
    content_type text NOT NULL,
    bytes        bytea NOT NULL,
    code         text UNIQUE,          -- null: no link
    link_until   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now()
);
-- Media are compressed already.
ALTER TABLE media ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE INDEX media_of_message ON media (message_id, position);
CREATE INDEX media_by_age ON media (created_at);
