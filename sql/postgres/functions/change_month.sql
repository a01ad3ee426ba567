-- Move a month from one of some states to another; the row's lock makes concurrent changes queue. Who calls it notes it.
-- From here to the end of the transaction the guard takes DDL on partitions for maintenance (see is_maintenance).
CREATE OR REPLACE FUNCTION refold.change_month(month text, from_states text[], to_state text)
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    the_month refold.months;
BEGIN
    SELECT * INTO the_month FROM refold.months AS m WHERE m.month = change_month.month FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'month % has no partition', coalesce(change_month.month, 'null') USING ERRCODE = 'RF005';
    END IF;
    IF the_month.state <> ALL (from_states) THEN
        RAISE EXCEPTION 'month % is %, it must be % to become %', the_month.month, the_month.state, array_to_string(from_states, ' or '), to_state
            USING ERRCODE = 'RF005';
    END IF;
    UPDATE refold.months AS m
    SET state = to_state, generation = m.generation + (to_state = 'open')::integer, changed_xid = pg_current_xact_id()
    WHERE m.month = the_month.month
    RETURNING * INTO the_month;
    RETURN the_month.generation;
END
$$;
