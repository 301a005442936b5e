-- Alerts as the API shows them (docs/spec/twilio-api.md#monitor-alerts-and-the-debugger-webhook): a
-- SID, the service, and the request to an app that went wrong, with its answer, bodies cut.
ALTER TABLE alerts
    ADD COLUMN sid               text,
    ADD COLUMN service           text,   -- its SID; the service itself may be gone
    ADD COLUMN request_method    text,
    ADD COLUMN request_url       text,
    ADD COLUMN request_variables text,   -- as a form
    ADD COLUMN request_headers   text,   -- as a form, without secrets
    ADD COLUMN response_status   int,    -- 0: there was no answer
    ADD COLUMN response_headers  text,
    ADD COLUMN response_body     text;
UPDATE alerts SET sid = 'NO' || md5(id::text);
ALTER TABLE alerts ALTER COLUMN sid SET NOT NULL;
CREATE UNIQUE INDEX alerts_sid ON alerts (sid);
CREATE INDEX alerts_age ON alerts USING brin (at);

-- Where an account wants to be told of each of its alerts.
ALTER TABLE accounts ADD COLUMN debugger_url text;
