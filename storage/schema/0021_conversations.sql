-- Conversations (docs/spec/twilio-api.md#conversations-v1). Not hot: rows are changed in place, one
-- transaction per request.
CREATE TABLE chat_services (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    friendly_name text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX chat_services_account ON chat_services (account_id, id);

-- One row of an account that ever asked, made with its default chat service.
CREATE TABLE conversation_settings (
    account_id        int PRIMARY KEY REFERENCES accounts,
    chat_service_id   int NOT NULL REFERENCES chat_services,  -- the default one
    messaging_service text,             -- its SID
    inactive_after    text,             -- ISO 8601 durations, as given
    closed_after      text,
    pre_webhook_url   text,
    post_webhook_url  text,
    method            text NOT NULL DEFAULT 'POST',
    filters           text[] NOT NULL DEFAULT '{}',
    target            text NOT NULL DEFAULT 'webhook'
);

-- Addresses of ours whose inbound messages make conversations.
CREATE TABLE conversation_addresses (
    id              int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid             text NOT NULL UNIQUE,
    account_id      int NOT NULL REFERENCES accounts,
    type            text NOT NULL,
    address         text NOT NULL,
    friendly_name   text,
    country         text,
    enabled         boolean NOT NULL,
    creation_type   text NOT NULL,
    chat_service_id int REFERENCES chat_services ON DELETE SET NULL,
    webhook_url     text,
    webhook_method  text,
    webhook_filters text[],
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, type, address)
);

CREATE TABLE conversations (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid               text NOT NULL UNIQUE,
    account_id        int NOT NULL REFERENCES accounts,
    chat_service_id   int NOT NULL REFERENCES chat_services ON DELETE CASCADE,
    messaging_service text,
    friendly_name     text,
    unique_name       text,
    attributes        text NOT NULL DEFAULT '{}',
    state             text NOT NULL DEFAULT 'active',
    inactive_after    interval,
    closed_after      interval,
    date_inactive     timestamptz,      -- when it will be; null: never
    date_closed       timestamptz,
    next_index        int NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversations_account ON conversations (account_id, id);
CREATE UNIQUE INDEX conversations_name ON conversations (chat_service_id, unique_name);
CREATE INDEX conversations_inactive ON conversations (date_inactive) WHERE state = 'active';
CREATE INDEX conversations_closed ON conversations (date_closed) WHERE state <> 'closed';

CREATE TABLE conversation_participants (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid             text NOT NULL UNIQUE,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    account_id      int NOT NULL,
    identity        text,
    address         text,
    proxy_address   text,
    attributes      text NOT NULL DEFAULT '{}',
    role            text,
    last_read_index int,
    last_read_at    text,
    open            boolean NOT NULL DEFAULT true,  -- its conversation is not closed
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_participants_of ON conversation_participants (conversation_id, id);
CREATE UNIQUE INDEX conversation_participants_identity
    ON conversation_participants (conversation_id, identity);
-- A pair is in one conversation that is not closed (50416). Of two first messages that arrive at
-- once, the second waits here for the first, and then finds its conversation.
CREATE UNIQUE INDEX conversation_participants_binding
    ON conversation_participants (account_id, address, proxy_address)
    WHERE open AND address IS NOT NULL;

CREATE TABLE conversation_messages (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid             text NOT NULL UNIQUE,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    index           int NOT NULL,
    author          text NOT NULL,
    participant     text,               -- its SID, of an author who is one
    body            text NOT NULL,
    attributes      text NOT NULL DEFAULT '{}',
    inbound_id      uuid,               -- the message it came as
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (conversation_id, index)
);
CREATE UNIQUE INDEX conversation_messages_inbound ON conversation_messages (inbound_id);

-- What went out for a message, by participant.
CREATE TABLE conversation_receipts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid         text NOT NULL UNIQUE,
    im_id       bigint NOT NULL REFERENCES conversation_messages ON DELETE CASCADE,
    participant text NOT NULL,          -- its SID
    message_id  uuid NOT NULL,          -- in `messages`
    message_sid text NOT NULL,
    status      text,                   -- null: nothing to tell yet
    error_code  int NOT NULL DEFAULT 0,
    open        boolean NOT NULL DEFAULT true,  -- more may be heard of it
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_receipts_im ON conversation_receipts (im_id, id);
CREATE UNIQUE INDEX conversation_receipts_message ON conversation_receipts (message_id);
CREATE INDEX conversation_receipts_open ON conversation_receipts (id) WHERE open;

CREATE TABLE conversation_webhooks (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid             text NOT NULL UNIQUE,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    target          text NOT NULL,
    url             text NOT NULL,
    method          text NOT NULL,
    filters         text[] NOT NULL,
    triggers        text[] NOT NULL,
    replay_after    int,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_webhooks_of ON conversation_webhooks (conversation_id, id);

-- Events that an app is still to be told, in order for each conversation: written by the transaction
-- that makes them true, deleted when they are taken or given up.
CREATE TABLE conversation_events (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL,    -- which may be gone
    account_id      int NOT NULL,
    url             text NOT NULL,
    method          text NOT NULL,
    parameters      jsonb NOT NULL,     -- pairs
    attempts        int NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_events_order ON conversation_events (conversation_id, id);
