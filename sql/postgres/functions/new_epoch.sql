-- Say that the store now lives in this cluster (after a restore, a dump and load, a copy): events appended from here on
-- come after all earlier ones, whatever transaction ids this cluster hands out. Answers the new epoch.
CREATE OR REPLACE FUNCTION refold.new_epoch()
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE refold.store
    SET
        epoch = epoch + 1,
        system_identifier = (SELECT c.system_identifier FROM pg_control_system() AS c),
        checked_start = pg_postmaster_start_time()
    RETURNING epoch
$$;
