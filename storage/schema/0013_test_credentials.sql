-- Credentials with which nothing is stored and nothing is sent: they answer by magic numbers. Kept
-- readable, since they open nothing.
ALTER TABLE accounts
    ADD COLUMN test_sid text UNIQUE,
    ADD COLUMN test_token text;
