-- What carriers delivered and nobody could use: receipts without a message or not understood,
-- messages to numbers that are not ours. Kept with their octets, so that nothing is lost and
-- everything can be looked at.
CREATE TABLE kept_deliveries (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    carrier_id         int NOT NULL,
    at                 timestamptz NOT NULL,
    reason             text NOT NULL,   -- unmatched, orphan, duplicate, unreadable, unknown number
    carrier_message_id text,
    source             text NOT NULL,
    destination        text NOT NULL,
    esm_class          smallint NOT NULL,
    data_coding        smallint NOT NULL,
    payload            bytea NOT NULL,
    tlvs               bytea NOT NULL
);
CREATE INDEX kept_deliveries_age ON kept_deliveries USING brin (at);
CREATE INDEX kept_deliveries_waiting ON kept_deliveries (at) WHERE reason = 'unmatched';

-- Parts of inbound messages, each stored before its deliver_sm is answered. A row stays for as long
-- as the SMSC may send it again; `message_id` says that its message is whole.
CREATE TABLE inbound_parts (
    carrier_id  int NOT NULL,
    source      text NOT NULL,
    destination text NOT NULL,
    reference   int NOT NULL,          -- of the concatenation; 0 for a message of one part
    total       smallint NOT NULL,
    part        smallint NOT NULL,
    digest      bytea NOT NULL,        -- of the payload
    connection  text NOT NULL,         -- that it came on
    esm_class   smallint NOT NULL,
    data_coding smallint NOT NULL,
    payload     bytea NOT NULL,        -- with its user data header
    tlvs        bytea NOT NULL,
    at          timestamptz NOT NULL,
    message_id  uuid
);
CREATE INDEX inbound_parts_recent ON inbound_parts (source, destination, at);
CREATE INDEX inbound_parts_open ON inbound_parts (at) WHERE message_id IS NULL;

-- The debugger's entries (Monitor v1 Alerts): append only.
CREATE TABLE alerts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  int,                   -- null: the operator's
    code        int NOT NULL,
    level       text NOT NULL,         -- error, warning, notice
    text        text NOT NULL,
    resource    text,                  -- a SID, or the name of a carrier
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alerts_account ON alerts (account_id, id);
