-- Event trigger: no table of schema refold is rewritten (ALTER COLUMN TYPE ... USING changes values).
CREATE OR REPLACE FUNCTION refold.guard_rewrite()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relnamespace = to_regnamespace('refold')
    ) THEN
        RAISE EXCEPTION 'rewriting % is refused: it is append-only', pg_event_trigger_table_rewrite_oid()::regclass
            USING ERRCODE = 'RF007';
    END IF;
END
$$;
