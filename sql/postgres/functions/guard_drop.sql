-- Event trigger: nothing of schema refold is dropped, except by its own maintenance and by migrations.
CREATE OR REPLACE FUNCTION refold.guard_drop()
RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped text;
BEGIN
    SELECT o.object_type || ' ' || o.object_identity INTO dropped
    FROM pg_event_trigger_dropped_objects() AS o
    WHERE o.schema_name = 'refold' OR o.address_names[1] = 'refold'
    LIMIT 1;
    -- With the schema itself gone there is no table months to ask.
    IF dropped IS NOT NULL AND (to_regclass('refold.months') IS NULL OR NOT refold.is_maintenance()) THEN
        RAISE EXCEPTION 'dropping % is refused: the event store is append-only', dropped USING ERRCODE = 'RF007';
    END IF;
END
$$;
