-- Trigger: events are append-only.
CREATE OR REPLACE FUNCTION refold.refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: it is append-only', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'RF007', HINT = 'Record a correction as a new event.';
END
$$;
