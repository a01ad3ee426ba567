-- The metadata of a batch with the times kept that its stream could not take: metadata.occurred_at is what was given
-- where the event's time was raised, unless the batch says itself when it occurred.
--
-- metadatas    one JSON object or NULL per event, or NULL for the whole
-- created_ats  the times given; NULL in it for none
-- event_times  the times stored
CREATE OR REPLACE FUNCTION refold.keep_times(metadatas jsonb[], created_ats timestamptz[], event_times timestamptz[])
RETURNS jsonb[]
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(
        CASE
            WHEN b.created_at < b.event_time AND jsonb_typeof(m.metadata) = 'object' AND NOT m.metadata ? 'occurred_at'
                THEN m.metadata || jsonb_build_object('occurred_at', refold.utc_text(b.created_at))
            ELSE m.metadata
        END ORDER BY b.ordinality
    )
    FROM unnest(keep_times.metadatas, keep_times.created_ats, keep_times.event_times)
    WITH ORDINALITY AS b (metadata, created_at, event_time)
    CROSS JOIN LATERAL (SELECT coalesce(b.metadata, '{}') AS metadata) AS m
$$;
