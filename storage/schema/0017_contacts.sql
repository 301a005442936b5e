-- What an app told of its recipients (`/v1/Contacts/Bulk`,
-- docs/spec/messaging-services.md#bulk-consent-and-contacts): the last word on each counts.
CREATE TABLE contacts (
    account_id     int NOT NULL REFERENCES accounts,
    contact        text NOT NULL,
    country        text NOT NULL,
    zip_code       text NOT NULL,
    correlation_id text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, contact)
);
