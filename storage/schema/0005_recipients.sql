-- Which sender a recipient is used to (docs/spec/messaging-services.md#sticky-sender): by service
-- and channel. Disk, not memory: a service may have tens of millions of them.
CREATE TABLE sticky (
    service_id    int NOT NULL,
    channel       smallint NOT NULL,   -- gateway.routing.question.Channel
    recipient     text NOT NULL,
    sender_id     int NOT NULL,
    first_message uuid,                -- the only message that used it so far; null once another did
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service_id, channel, recipient)
);
CREATE INDEX sticky_sender ON sticky (sender_id);
CREATE INDEX sticky_age ON sticky USING brin (last_used);

-- Who asked for no more messages (docs/spec/messaging-services.md#effects-of-keywords). `scope` is
-- the id of the service that the block covers or, for a number in no service, the sender's id
-- negated. By recipient first: one probe finds every block that could stop a message.
CREATE TABLE opt_outs (
    recipient  text NOT NULL,
    channel    smallint NOT NULL,
    scope      int NOT NULL,
    account_id int NOT NULL,
    source     text NOT NULL,          -- keyword, network, import, or a consent's own source
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recipient, channel, scope)
);
CREATE INDEX opt_outs_account ON opt_outs (account_id, recipient);

-- Every change of the list, for ever: who changed what, and when.
CREATE TABLE opt_out_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    account_id int NOT NULL,
    recipient  text NOT NULL,
    channel    smallint NOT NULL,
    scope      int NOT NULL,
    blocked    boolean NOT NULL,       -- what it was set to
    source     text NOT NULL,
    actor      text NOT NULL,          -- a message's SID, an account's or key's SID, or "operator"
    note       text                    -- the keyword, a correlation id
);
CREATE INDEX opt_out_log_recipient ON opt_out_log (recipient, id);
CREATE INDEX opt_out_log_account ON opt_out_log (account_id, id);

-- What is still to be done with an inbound message, as bits (gateway.inbound.owed_webhook): its reply
-- to a keyword, its webhook. Null: nothing, as for every outbound message. It is set by the
-- transaction that stores the message, and cleared by the one that stores what it led to.
ALTER TABLE messages ADD COLUMN handling smallint;
CREATE INDEX messages_unhandled ON messages (id) WHERE handling IS NOT NULL;

-- Before a message may go: wait for whoever is just blocking one of `lock_keys`, and make him wait
-- for us, until the session asks again or says pg_advisory_unlock_all; then read. A function,
-- because each statement of a volatile one sees what was committed before it began: the locks come
-- first.
CREATE FUNCTION recipients_standing(
    lock_keys int[],                           -- scopes, folded (storage.recipients.lock_key)
    recipients text[],                         -- whose blocks are asked for
    services int[], channels smallint[], mapped text[] -- whose mappings are asked for
) RETURNS TABLE (
    blocked boolean,                           -- a block, or else a mapping
    recipient text, channel smallint, scope int,
    sender_id int, first_message uuid, created_at timestamptz, last_used timestamptz
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_unlock_all();
    PERFORM pg_advisory_lock_shared(7400, key) FROM unnest(lock_keys) AS key;
    RETURN QUERY
        SELECT true, o.recipient, o.channel, o.scope,
               NULL::int, NULL::uuid, NULL::timestamptz, NULL::timestamptz
          FROM opt_outs AS o WHERE o.recipient = ANY (recipients)
        UNION ALL
        SELECT false, s.recipient, s.channel, s.service_id,
               s.sender_id, s.first_message, s.created_at, s.last_used
          FROM unnest(services, channels, mapped) AS k (service_id, channel, recipient)
          JOIN sticky AS s USING (service_id, channel, recipient);
END $$;
