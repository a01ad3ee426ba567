-- Remember that this server process was found to be the store's cluster, so that appends need not look again.
-- Raises like refold.writable_epoch; answers the epoch. Call it outside of long transactions: it updates one shared row.
CREATE OR REPLACE FUNCTION refold.check_cluster()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    the_epoch CONSTANT integer := refold.writable_epoch();
BEGIN
    UPDATE refold.store SET checked_start = pg_postmaster_start_time()
    WHERE checked_start IS DISTINCT FROM pg_postmaster_start_time();
    RETURN the_epoch;
END
$$;
