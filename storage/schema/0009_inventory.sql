-- Numbers that the operator has and nobody uses yet (AvailablePhoneNumbers). A row stays when its
-- number is taken, and is on offer again when it is given back.
CREATE TABLE inventory (
    address    text PRIMARY KEY,                    -- E.164
    type       text NOT NULL,                       -- local, mobile, tollfree
    country    text NOT NULL,
    area_code  text,                                -- NANP
    locality   text NOT NULL DEFAULT '',
    region     text NOT NULL DEFAULT '',
    carrier_id int NOT NULL REFERENCES carriers,
    sms        boolean NOT NULL DEFAULT true,
    mms        boolean NOT NULL DEFAULT false,
    voice      boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inventory_place ON inventory (country, type, area_code, address);
