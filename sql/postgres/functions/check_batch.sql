-- Refuse a batch that holds an event which may not be stored, naming the first one and why.
--
-- event_types, payloads, metadatas  those of refold.append_events
-- sizes                             bytes of payload and metadata as text
CREATE OR REPLACE FUNCTION refold.check_batch(event_types text[], payloads jsonb[], metadatas jsonb[], sizes integer[])
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    max_event_bytes CONSTANT integer := 67108864; -- 64 MiB; jsonb itself stops at 256 MB
    -- What JSON readers take, Python's among them: an event that no follower can read would stop all of them for ever.
    too_deep CONSTANT jsonpath := 'strict $.**{251}';
    too_long CONSTANT jsonpath := 'strict $.** ? (@ >= 1e4300 || @ <= -1e4300)';
    event record;
BEGIN
    FOR event IN
        SELECT b.event_type, t.event_version, b.payload, m.metadata, b.size, b.ordinality
        FROM unnest(check_batch.event_types, check_batch.payloads, check_batch.metadatas, check_batch.sizes)
        WITH ORDINALITY AS b (event_type, payload, metadata, size)
        CROSS JOIN LATERAL (SELECT coalesce(b.metadata, '{}') AS metadata) AS m
        LEFT JOIN refold.event_types AS t ON b.event_type = t.event_type
        WHERE t.event_version IS NULL
            OR jsonb_typeof(b.payload) IS DISTINCT FROM 'object'
            OR jsonb_typeof(m.metadata) <> 'object'
            OR b.size > 400
        ORDER BY b.ordinality
    LOOP
        IF event.event_version IS NULL THEN
            RAISE EXCEPTION 'event type % is not registered', coalesce(event.event_type, 'null')
                USING ERRCODE = 'RF002', DETAIL = jsonb_build_object('event_type', event.event_type)::text;
        END IF;
        IF jsonb_typeof(event.payload) IS DISTINCT FROM 'object' OR jsonb_typeof(event.metadata) <> 'object' THEN
            RAISE EXCEPTION 'event % of the batch: payload and metadata must be JSON objects', event.ordinality
                USING ERRCODE = 'RF005';
        END IF;
        IF event.size > max_event_bytes THEN
            RAISE EXCEPTION 'event % of the batch holds % bytes; at most % are stored', event.ordinality, event.size, max_event_bytes
                USING ERRCODE = 'RF006';
        END IF;
        -- Either takes more text than most events have.
        IF event.payload @? too_deep OR event.metadata @? too_deep THEN
            RAISE EXCEPTION 'event % of the batch is nested too deeply; at most 250 levels are stored', event.ordinality
                USING ERRCODE = 'RF008';
        END IF;
        IF event.size > 4300 AND (event.payload @? too_long OR event.metadata @? too_long) THEN
            RAISE EXCEPTION 'event % of the batch holds a number of more than 4300 digits, which cannot be stored', event.ordinality
                USING ERRCODE = 'RF008';
        END IF;
    END LOOP;
END
$$;
