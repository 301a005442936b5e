-- What was kept of a message goes with its text: a delivery that could not be stored and was when it
-- came again, a receipt that came twice, or under another spelling of the id than the response's.
ALTER TABLE kept_deliveries ADD COLUMN IF NOT EXISTS message_id uuid;
CREATE INDEX IF NOT EXISTS kept_deliveries_message ON kept_deliveries (message_id) WHERE message_id IS NOT NULL;
-- Deliveries that are no receipts, and may come again.
CREATE INDEX IF NOT EXISTS kept_deliveries_again ON kept_deliveries (source, destination)
 WHERE reason IN ('set aside', 'unknown number', 'another carrier''s number');
