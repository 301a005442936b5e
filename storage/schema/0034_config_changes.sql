-- Which rows of the configuration came with which version: who knows a version reads what came since.
-- `rest` stands for all that is read whole. Old versions are forgotten; a gap means: read everything.
CREATE TABLE IF NOT EXISTS config_changes (
    version bigint NOT NULL,
    kind    text NOT NULL,     -- a table whose rows are read one by one, or `rest`
    id      int                -- of the row
);
CREATE INDEX IF NOT EXISTS config_changes_version ON config_changes (version);

CREATE OR REPLACE FUNCTION note_config_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO config_changes SELECT version, TG_TABLE_NAME, OLD.id FROM config_version;
    ELSE
        INSERT INTO config_changes SELECT version, TG_TABLE_NAME, NEW.id FROM config_version;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION note_config_rest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO config_changes SELECT version, 'rest', NULL FROM config_version;
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'api_keys', 'applications', 'content_templates', 'link_domains', 'opt_out_configs',
        'safe_list'
    ] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER config_row AFTER INSERT OR UPDATE OR DELETE ON %I'
                       ' FOR EACH ROW EXECUTE FUNCTION note_config_row()', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'accounts', 'carriers', 'senders', 'services', 'service_senders', 'sender_registrations',
        'campaigns', 'fact_tables'
    ] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER config_rest AFTER INSERT OR UPDATE OR DELETE'
                       ' ON %I FOR EACH STATEMENT EXECUTE FUNCTION note_config_rest()', name);
    END LOOP;
END $$;
