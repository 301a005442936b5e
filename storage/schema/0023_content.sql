-- Content templates: what a message says, with places for variables.
CREATE TABLE content_templates (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid           text NOT NULL UNIQUE,
    account_id    int NOT NULL REFERENCES accounts,
    friendly_name text NOT NULL,
    language      text NOT NULL,
    variables     jsonb NOT NULL,      -- name → what stands there when a message says nothing
    types         jsonb NOT NULL,      -- by type, as twilio/text
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX content_templates_of_account ON content_templates (account_id, id);
