-- Give a table its append-only triggers. Statement triggers are not cloned to partitions, so every partition gets its own;
-- row triggers are cloned, but a partition that is detached or not yet attached has none. ENABLE ALWAYS makes them fire
-- under session_replication_role = replica too.
-- What events say is kept out of pg_statistic, where ANALYZE would keep values in clear: no query is planned by them.
CREATE OR REPLACE FUNCTION refold.protect_table(target regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Of events one update may pass.
    is_events CONSTANT boolean := EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = 'payload');
    allowed CONSTANT text := CASE WHEN is_events THEN '''erasure''' ELSE '' END;
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER refold_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION refold.refuse_change(%s)', target, allowed
    );
    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER refold_append_only', target);
    IF NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = target AND t.tgname = 'refold_append_only_row') THEN
        EXECUTE format(
            'CREATE TRIGGER refold_append_only_row BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION refold.refuse_change(%s)',
            target, allowed
        );
    END IF;
    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER refold_append_only_row', target);
    IF is_events THEN
        EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN payload SET STATISTICS 0, ALTER COLUMN metadata SET STATISTICS 0', target);
    END IF;
END
$$;
