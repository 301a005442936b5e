-- Of inbound parts: which delivery of its connection each was (`connection`, `number`), and whether
-- our answer to it has arrived (`settled`): what is settled is never sent again, so the same words
-- are another message. A settled part of a whole message is of no more use, and is deleted.
ALTER TABLE inbound_parts
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN number int NOT NULL DEFAULT 0,
    ADD COLUMN settled boolean NOT NULL DEFAULT false,
    -- How its addresses were typed (SMPP 3.4 §5.2.5, §5.2.6): a national number is read by it.
    ADD COLUMN source_ton smallint NOT NULL DEFAULT 0,
    ADD COLUMN source_npi smallint NOT NULL DEFAULT 0,
    ADD COLUMN destination_ton smallint NOT NULL DEFAULT 0,
    ADD COLUMN destination_npi smallint NOT NULL DEFAULT 0;
