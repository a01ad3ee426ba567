-- Raise unless every statement of this transaction sees all that is committed. With the snapshot of a stricter isolation
-- level, events that came later would be overlooked, and dropped with the table they are moved out of.
CREATE OR REPLACE FUNCTION refold.assert_current()
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'months are changed in transactions of isolation level read committed, this one is %', current_setting('transaction_isolation')
            USING ERRCODE = 'RF005';
    END IF;
END
$$;
