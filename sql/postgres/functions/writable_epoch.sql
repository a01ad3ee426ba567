-- The epoch that appends belong to; an error when the database came into another cluster without `refold db new-epoch`.
--
-- Transaction ids order events within a cluster and mean nothing in another. The full comparison reads the control file,
-- so it is done once per server start (refold.check_cluster remembers it) and here only when that has not happened yet.
CREATE OR REPLACE FUNCTION refold.writable_epoch()
RETURNS integer
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    the_store refold.store;
    last_xid xid8;
BEGIN
    SELECT * INTO STRICT the_store FROM refold.store;
    IF the_store.checked_start IS NOT DISTINCT FROM pg_postmaster_start_time() THEN
        RETURN the_store.epoch;
    END IF;
    IF the_store.system_identifier <> (SELECT c.system_identifier FROM pg_control_system() AS c) THEN
        RAISE EXCEPTION 'this database was made in another cluster (a restore or a copy?); appends are stopped'
            USING ERRCODE = 'RF004', HINT = 'Run `refold db new-epoch` once nothing writes to the other one.';
    END IF;
    -- This transaction's own events are visible here and may be younger than its snapshot.
    SELECT e.order_xid INTO last_xid FROM refold.events AS e
    WHERE e.epoch = the_store.epoch AND e.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
    ORDER BY e.epoch DESC, e.order_xid DESC, e.position DESC LIMIT 1;
    IF last_xid >= pg_snapshot_xmax(pg_current_snapshot()) THEN
        RAISE EXCEPTION 'the store holds transaction % which this cluster has not reached (a restore or a copy?); appends are stopped', last_xid
            USING ERRCODE = 'RF004', HINT = 'Run `refold db new-epoch` once nothing writes to the other one.';
    END IF;
    RETURN the_store.epoch;
END
$$;
