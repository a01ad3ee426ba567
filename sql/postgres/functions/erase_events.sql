-- Take the content of some events that recorded erasures name and that still have it. Answers how many runs of events were done; 0 when
-- none waits. Run it until then: each call is one transaction.
CREATE OR REPLACE FUNCTION refold.erase_events(most integer DEFAULT 1000)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- The bounds of a month are constants of the plan, so that no other month is looked into.
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    the_month CONSTANT text := (SELECT min(x.month) FROM refold.erasures AS x WHERE NOT x.is_done);
    begins CONSTANT timestamptz := (the_month || '-01')::timestamp AT TIME ZONE 'UTC';
    ends CONSTANT timestamptz := ((the_month || '-01')::timestamp + interval '1 month') AT TIME ZONE 'UTC';
    picked refold.erasures[];
    done integer;
BEGIN
    IF the_month IS NULL THEN
        RETURN 0;
    END IF;
    -- A month that takes over its strays must not be looked at between the two places; see append_events.
    LOCK TABLE ONLY refold.events IN ACCESS SHARE MODE;
    picked := ARRAY(
        SELECT x FROM refold.erasures AS x WHERE NOT x.is_done AND x.month = the_month
        ORDER BY x.aggregate_id, x.first_version, x.erasure LIMIT erase_events.most FOR UPDATE
    );
    UPDATE refold.events AS e
    SET payload = '{}', metadata = '{}', salt = '', digest = refold.content_digest(e.salt, e.payload, e.metadata)
    FROM unnest(picked) AS w
    WHERE e.aggregate_id = w.aggregate_id AND e.stream_version BETWEEN w.first_version AND w.last_version
        AND e.created_at >= begins AND e.created_at < ends AND octet_length(e.digest) = 0;
    UPDATE refold.erasures AS x SET is_done = true
    FROM unnest(picked) AS w
    WHERE x.aggregate_id = w.aggregate_id AND x.first_version = w.first_version AND x.erasure = w.erasure AND x.month = w.month;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$$;
