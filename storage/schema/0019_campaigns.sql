-- A2P campaigns of US long codes, one for a service: a record of what the carriers' registry was told.
-- Nothing is registered from here; who registers elsewhere keeps the facts with the service.
CREATE TABLE campaigns (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sid        text NOT NULL UNIQUE,
    account_id int NOT NULL REFERENCES accounts,
    service_id int NOT NULL UNIQUE REFERENCES services ON DELETE CASCADE,
    fields     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
