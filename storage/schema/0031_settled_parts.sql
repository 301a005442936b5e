-- Of inbound parts: which delivery of its connection each was (`connection`, `number`), and whether
-- our answer to it has arrived (`settled`): what is settled is never sent again, so the same words
-- are another message. A settled part of a whole message is of no more use, and is deleted.
ALTER TABLE inbound_parts
    ADD COLUMN IF NOT EXISTS id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN IF NOT EXISTS number int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS settled boolean NOT NULL DEFAULT false,
    -- How its addresses were typed (SMPP 3.4 §5.2.5, §5.2.6): a national number is read by it.
    ADD COLUMN IF NOT EXISTS source_ton smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS source_npi smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS destination_ton smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS destination_npi smallint NOT NULL DEFAULT 0;
