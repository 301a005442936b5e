-- A receipt of no known message goes with the text that it quotes, however it spells the id: found
-- without case, and the signs and zeros before it.
CREATE INDEX IF NOT EXISTS kept_deliveries_name
    ON kept_deliveries (carrier_id, ltrim(lower(carrier_message_id), '+-0'));
