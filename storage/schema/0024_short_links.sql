-- Link shortening: domains of accounts, and the links that messages were sent with.
CREATE TABLE link_domains (
    id                  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid                 text NOT NULL UNIQUE,
    config_sid          text NOT NULL UNIQUE,
    account_id          int NOT NULL REFERENCES accounts,
    domain_name         text NOT NULL UNIQUE,     -- lower case, with a port where it has one
    fallback_url        text,                     -- for links that are unknown or have ended
    callback_url        text,                     -- hears of clicks
    continue_on_failure boolean NOT NULL DEFAULT false,
    disable_https       boolean NOT NULL DEFAULT false,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE services
    ADD COLUMN link_domain_id int REFERENCES link_domains ON DELETE SET NULL;

-- Written in the transaction that stores the message; forgotten when they have ended.
CREATE TABLE short_links (
    code        text PRIMARY KEY,
    account_id  int NOT NULL,
    domain_name text NOT NULL,
    message_id  uuid NOT NULL,
    url         text NOT NULL,
    until       timestamptz NOT NULL
);
CREATE INDEX short_links_until ON short_links (until);
