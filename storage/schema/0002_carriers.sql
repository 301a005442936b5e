-- Carriers are configuration like the rest: changed at run time, read whole by every worker.
-- `settings` is what `tandem.toml` could say of a carrier, its password apart, which is kept
-- encrypted or not at all. `from_file` remembers what the file said when it was last read: a
-- file that did not change since does not undo what was changed here.
ALTER TABLE carriers
    ADD COLUMN sid text NOT NULL UNIQUE DEFAULT 'CR' || replace(gen_random_uuid()::text, '-', ''),
    ADD COLUMN settings jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN password bytea,
    ADD COLUMN from_file jsonb,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- SMPP optional parameters that came with the send call, as they go on the wire; null: none.
-- A resubmission after a restart carries them again.
ALTER TABLE messages ADD COLUMN tlvs bytea;
