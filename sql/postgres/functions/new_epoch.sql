-- Say that the store now lives in this cluster (after a restore, a dump and load, a copy): events appended from here on
-- come after all earlier ones, whatever transaction ids this cluster hands out. Answers the new epoch.
--
-- Waits for writers, also prepared ones, and gives up after lock_timeout (the caller sets it): an event of the old epoch that
-- became visible in the new one would be passed over by every follower.
CREATE OR REPLACE FUNCTION refold.new_epoch()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    the_epoch integer;
BEGIN
    PERFORM refold.assert_current();
    LOCK TABLE ONLY refold.streams IN EXCLUSIVE MODE;
    UPDATE refold.store AS s
    SET
        epoch = s.epoch + 1,
        system_identifier = (SELECT c.system_identifier FROM pg_control_system() AS c),
        checked_start = pg_postmaster_start_time()
    RETURNING s.epoch INTO the_epoch;
    RETURN the_epoch;
END
$$;
