-- Advanced Opt-Out (docs/spec/messaging-services.md#opt-out-management): the keyword sets and
-- replies of a service. Configuration like the rest: read whole into memory. `keywords` and
-- `messages` are lists of entries as the /v3/OptOuts resource shows them, `keyword_type` and
-- `message_type` first.
CREATE TABLE opt_out_configs (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    service_id    int UNIQUE REFERENCES services ON DELETE SET NULL,
    friendly_name text NOT NULL,
    enabled       boolean NOT NULL DEFAULT false,  -- once on, only an operator turns it off
    keywords      jsonb NOT NULL DEFAULT '[]',
    messages      jsonb NOT NULL DEFAULT '[]',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
