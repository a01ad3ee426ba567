-- Event trigger: after a command on an object of schema refold, the events table must be as it should be.
CREATE OR REPLACE FUNCTION refold.guard_ddl_end()
RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- A rule or trigger has no schema of its own; its identity ends in "on refold.events".
    -- A partition may just have been moved to another schema.
    IF EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() AS c
        WHERE c.schema_name = 'refold' OR c.object_identity ~ '\mrefold\.'
            OR c.objid IN (SELECT p.relid FROM pg_partition_tree(to_regclass('refold.events')) AS p)
    ) AND NOT refold.is_maintenance() THEN
        PERFORM refold.assert_guarded();
    END IF;
END
$$;
