-- Keys of bulk operations stand where those of single sends do, under a name that no client can give:
-- who comes second waits for who came first, and a commit that nobody knows of takes them along.
DO $$
BEGIN
    IF EXISTS (SELECT FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = 'bulk_operations'
                  AND column_name = 'idempotency_key') THEN
        INSERT INTO idempotency (account_id, key, digest, message_id, at)
        SELECT account_id, 'operation ' || idempotency_key, digest, id, created_at
          FROM bulk_operations
         WHERE idempotency_key IS NOT NULL AND created_at > now() - interval '24 hours'
            ON CONFLICT DO NOTHING;
        DROP INDEX IF EXISTS bulk_operations_key;
        ALTER TABLE bulk_operations DROP COLUMN idempotency_key, DROP COLUMN digest;
    END IF;
END $$;
