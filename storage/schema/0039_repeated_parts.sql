-- A repetition is looked for by its octets, an arrived answer by its number as well: what else a pair
-- of numbers has unanswered, thousands of parts with a peer that confirms nothing, is not read.
CREATE INDEX IF NOT EXISTS inbound_parts_again ON inbound_parts (source, destination, digest, number);
CREATE INDEX IF NOT EXISTS inbound_parts_id ON inbound_parts (id);
DROP INDEX IF EXISTS inbound_parts_recent;
