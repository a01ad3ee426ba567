-- Refuse an erasure of what is on hold; called where it has been recorded and before that is committed.
CREATE OR REPLACE FUNCTION refold.refuse_held(the_erasure uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held record;
BEGIN
    SELECT h.hold, h.reason, x.aggregate_id INTO held
    FROM refold.holds AS h
    INNER JOIN refold.erasures AS x ON x.erasure = refuse_held.the_erasure
    WHERE NOT x.is_done AND (
        h.aggregate_id = x.aggregate_id
        OR EXISTS (
            SELECT FROM refold.events AS e
            WHERE e.aggregate_id = x.aggregate_id AND e.stream_version BETWEEN x.first_version AND x.last_version
                AND e.metadata ->> 'subject_id' = h.customer
        )
    )
    ORDER BY x.aggregate_id, h.placed_at
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'stream % is on hold (%): %', held.aggregate_id, held.hold, held.reason
            USING ERRCODE = 'RF010', HINT = 'Lift the hold first: `refold hold --lift ' || held.hold || '`.';
    END IF;
END
$$;
