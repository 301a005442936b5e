-- An alphanumeric ID belongs to its service and to nobody else: the same one may stand in several
-- services and accounts, once per service and destination country ('' for all the others). Every
-- other address is unique. Channel senders (WhatsApp, RCS) have no SMPP carrier.
ALTER TABLE senders
    ADD COLUMN service_id int REFERENCES services ON DELETE CASCADE,
    ADD COLUMN destination_country text NOT NULL DEFAULT '',
    ALTER COLUMN carrier_id DROP NOT NULL,
    DROP CONSTRAINT senders_kind_address_key,
    ADD CONSTRAINT senders_alpha_in_service CHECK ((kind = 3) = (service_id IS NOT NULL)),
    ADD CONSTRAINT senders_carrier CHECK ((carrier_id IS NULL) = (kind IN (4, 5)));
CREATE UNIQUE INDEX senders_address ON senders (kind, address) WHERE kind <> 3;
CREATE UNIQUE INDEX senders_alpha ON senders (service_id, destination_country) WHERE kind = 3;
