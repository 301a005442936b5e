-- A message keeps the SID of its service when that is deleted.
CREATE TABLE IF NOT EXISTS former_services (
    id         int PRIMARY KEY,
    sid        text NOT NULL,
    account_id int NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now()
);
