-- What an account's templates take in the memory of every process; counted when one is added.
ALTER TABLE content_templates ADD COLUMN IF NOT EXISTS octets int NOT NULL
    GENERATED ALWAYS AS (octet_length(friendly_name) + octet_length(variables::text)
                         + octet_length(types::text)) STORED;

-- What is counted per account.
CREATE INDEX IF NOT EXISTS services_of_account ON services (account_id);
CREATE INDEX IF NOT EXISTS applications_of_account ON applications (account_id);
CREATE INDEX IF NOT EXISTS api_keys_of_account ON api_keys (account_id);
CREATE INDEX IF NOT EXISTS opt_out_configs_of_account ON opt_out_configs (account_id);
CREATE INDEX IF NOT EXISTS link_domains_of_account ON link_domains (account_id);
CREATE INDEX IF NOT EXISTS senders_of_account ON senders (account_id);
