-- SMPP optional parameters that the carrier sent with its answers and receipts, as they came on the
-- wire: shown to who looks into a message, and (by a carrier's list) told in status callbacks.
ALTER TABLE messages ADD COLUMN carrier_tlvs bytea;
