-- Protection of an account against artificially inflated traffic, and against itself.
ALTER TABLE accounts
    ADD COLUMN pumping_protection boolean NOT NULL DEFAULT false,
    ADD COLUMN daily_messages int;     -- most messages of a day (UTC); null: no limit

-- Numbers, and beginnings of numbers, that pumping protection never blocks.
CREATE TABLE safe_list (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid          text NOT NULL UNIQUE,
    account_id   int NOT NULL REFERENCES accounts,
    phone_number text NOT NULL,
    UNIQUE (account_id, phone_number)
);
