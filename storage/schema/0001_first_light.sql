-- Configuration: small tables, read whole into memory by every worker.
-- Every write to one of them bumps `config_version` in the same transaction, so that a
-- reader that missed a notification sees that its copy is old.

CREATE TABLE config_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
);
INSERT INTO config_version (version) VALUES (1);

CREATE TABLE accounts (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    owner_id      int REFERENCES accounts,          -- null for a parent account
    friendly_name text NOT NULL,
    status        text NOT NULL DEFAULT 'active',   -- active, suspended, closed
    auth_token    text NOT NULL,                    -- kept readable: webhooks are signed with it
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE carriers (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Whatever a message can come from: long codes, toll-free numbers, short codes, alphanumeric ids.
CREATE TABLE senders (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    carrier_id    int NOT NULL REFERENCES carriers,
    kind          smallint NOT NULL,
    address       text NOT NULL,
    country       text NOT NULL,
    friendly_name text NOT NULL,
    sms           boolean NOT NULL DEFAULT true,
    mms           boolean NOT NULL DEFAULT false,
    voice         boolean NOT NULL DEFAULT false,
    rate          real,                             -- segments per second; null: by kind and destination
    settings      jsonb NOT NULL DEFAULT '{}',      -- URLs and the like, by API field name
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, address)
);

CREATE TABLE services (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    friendly_name text NOT NULL,
    settings      jsonb NOT NULL DEFAULT '{}',      -- by API field name; absent means default
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE service_senders (
    service_id int NOT NULL REFERENCES services ON DELETE CASCADE,
    sender_id  int NOT NULL UNIQUE REFERENCES senders ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service_id, sender_id)
);

-- Messages. The id is the hex of the SID; its first 48 bits are milliseconds since 1970, so
-- a day of messages is a range of ids, the primary key is in time order, and a fetch by SID
-- prunes to one partition. Codes of status, direction and encoding: gateway.messages.message.
CREATE TABLE messages (
    id             uuid NOT NULL,
    account_id     int NOT NULL,
    service_id     int,
    sender_id      int,
    carrier_id     int,
    direction      smallint NOT NULL,
    status         smallint NOT NULL,
    encoding       smallint,
    segments       smallint NOT NULL,
    flags          int NOT NULL DEFAULT 0,
    priority       smallint NOT NULL DEFAULT 0,
    reference      int,                -- concatenation / user message reference, kept for a resubmission
    error_code     int,
    callbacks_done smallint NOT NULL DEFAULT 0,  -- status callbacks acknowledged so far, in their order
    waiting        smallint,           -- shard while it waits for its turn; null once claimed
    queued_at      timestamptz,
    sent_at        timestamptz,
    done_at        timestamptz,
    expires_at     timestamptz,
    recipient      text NOT NULL,
    sender         text,               -- the address as sent; null until one is chosen
    body           text NOT NULL,      -- as sent
    submitted_body text,               -- as submitted, where that differs
    callback_url   text,
    done_date      text,               -- of the receipt, as the carrier wrote it
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- Lists run by account, newest first.
CREATE INDEX messages_account ON messages (account_id, id);

-- What waits, in order. `waiting` changes once in a life (at the claim), and `status` stands in
-- no index, so that all later updates of a row stay in its page (HOT).
CREATE INDEX messages_waiting ON messages (waiting, sender_id, priority, id)
    WHERE waiting IS NOT NULL;

-- An accept must never fail because a clock ran ahead of the partitions.
CREATE TABLE messages_default PARTITION OF messages DEFAULT;

-- What the carrier called a segment: receipts are matched by (carrier, its id).
CREATE TABLE submissions (
    carrier_id int NOT NULL,
    carrier_message_id text NOT NULL,
    message_id uuid NOT NULL,
    segment    smallint NOT NULL,      -- from 1
    receipt    smallint,               -- message_state of its receipt (SMPP 3.4 §5.2.28)
    at         timestamptz NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX submissions_by_carrier_id ON submissions (carrier_message_id, carrier_id);
CREATE INDEX submissions_by_message ON submissions (message_id);
CREATE TABLE submissions_default PARTITION OF submissions DEFAULT;
