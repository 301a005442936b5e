-- What an account may send a second, all its senders and its subaccounts' together: segments of SMS
-- (null: no limit), and MMS of its long codes and of its toll-free numbers (null: 50 and 25).
ALTER TABLE accounts
    ADD COLUMN messages_per_second      double precision,
    ADD COLUMN mms_per_second           double precision,
    ADD COLUMN toll_free_mms_per_second double precision;
