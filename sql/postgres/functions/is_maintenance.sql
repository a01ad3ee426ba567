-- Whether this transaction changed the state of a month: then a function of this schema is at work on its partition.
CREATE OR REPLACE FUNCTION refold.is_maintenance()
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM refold.months AS m WHERE m.changed_xid = pg_current_xact_id_if_assigned())
$$;
