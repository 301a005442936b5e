-- A second token that works beside the first, until it takes its place (rotation). The balance is
-- what the operator's billing says it is; the gateway only shows it.
ALTER TABLE accounts
    ADD COLUMN secondary_token text,
    ADD COLUMN balance numeric(20, 5) NOT NULL DEFAULT 0,
    ADD COLUMN currency text NOT NULL DEFAULT 'USD';

-- API keys. The secret is 32 random characters (190 bits) that we made ourselves, so one SHA-256 is
-- as good as a slow hash, which exists to make guessable passwords expensive, and it keeps
-- authentication cheap on every request.
CREATE TABLE api_keys (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    friendly_name text NOT NULL,
    main          boolean NOT NULL,                 -- may manage accounts and keys
    secret_hash   bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- TwiML applications: URLs under one SID.
CREATE TABLE applications (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    friendly_name text NOT NULL,
    settings      jsonb NOT NULL DEFAULT '{}',      -- by API field name
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
