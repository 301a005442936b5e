-- The operator's own versions of the tables about carriers and countries, as CSV; what is not here is
-- as packaged. `revision` tells a process that its copy is old without reading the content.
CREATE TABLE fact_tables (
    name       text PRIMARY KEY,
    content    text NOT NULL,
    revision   bigint GENERATED ALWAYS AS IDENTITY,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Alphanumeric IDs that were registered with a country's carriers
-- (docs/spec/messaging-services.md#sender-id-pre-registration-alert).
CREATE TABLE sender_registrations (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid          text NOT NULL UNIQUE,
    account_id   int NOT NULL REFERENCES accounts,
    alpha_sender text NOT NULL,
    country      text NOT NULL,
    status       text NOT NULL,        -- draft, in_review, approved, rejected
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, alpha_sender, country)
);

-- Countries that an account does not send to (21408).
ALTER TABLE accounts ADD COLUMN closed_countries text[] NOT NULL DEFAULT '{}';

-- What a message costs once it is sent, in the currency of the price table; null: not priced.
ALTER TABLE messages ADD COLUMN price numeric(12, 5);
