-- Append a batch of events to one stream, all or nothing; the only way to write an event.
--
-- aggregate_id      the stream
-- aggregate_type    the kind of thing it is about; fixed by the stream's first event
-- expected_version  'any', 'exists', 'no_stream', or the stream's last version in digits ('0' = 'no_stream')
-- event_types       one registered type per event, in order
-- payloads          one JSON object per event
-- metadatas         one JSON object per event; NULL in it (or for the whole) for none
-- created_ats       one time per event; NULL in it (or for the whole) for now. A time before the stream's last is raised
--                   to it and kept in metadata.occurred_at, where none is given
--
-- Answers the first and last version and position. The same batch sent again with the same exact expectation answers
-- the first time's numbers and appends nothing (duplicate = true).
CREATE OR REPLACE FUNCTION refold.append_events(
    aggregate_id uuid,
    aggregate_type text,
    expected_version text,
    event_types text[],
    payloads jsonb[],
    metadatas jsonb[] DEFAULT null,
    created_ats timestamptz[] DEFAULT null,
    OUT first_version integer,
    OUT last_version integer,
    OUT first_position bigint,
    OUT last_position bigint,
    OUT duplicate boolean
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    max_event_bytes CONSTANT integer := 67108864; -- 64 MiB; jsonb itself stops at 256 MB
    -- What JSON readers take, Python's among them: an event that no follower can read would stop all of them for ever.
    too_deep CONSTANT jsonpath := 'strict $.**{251}';
    too_long CONSTANT jsonpath := 'strict $.** ? (@ >= 1e4300 || @ <= -1e4300)';
    stream CONSTANT uuid := append_events.aggregate_id;
    kind CONSTANT text := append_events.aggregate_type;
    expected CONSTANT text := append_events.expected_version;
    n CONSTANT integer := coalesce(cardinality(append_events.event_types), 0);
    at_now CONSTANT timestamptz := clock_timestamp();
    the_epoch integer;
    head_type text;
    head_version integer;
    head_hash bytea;
    head_time timestamptz;
    wanted integer;
    event record;
    event_metadata jsonb;
    content bytea;
    event_versions integer[] := '{}';
    event_metadatas jsonb[] := '{}';
    event_times timestamptz[] := '{}';
    hashes bytea[] := '{}';
BEGIN
    IF stream IS NULL OR kind IS NULL OR kind = '' OR strpos(kind, E'\n') > 0 THEN
        RAISE EXCEPTION 'a stream needs an aggregate_id and a one-line aggregate_type' USING ERRCODE = 'RF005';
    END IF;
    IF n = 0 OR cardinality(append_events.payloads) IS DISTINCT FROM n
        OR coalesce(cardinality(append_events.metadatas), n) <> n OR coalesce(cardinality(append_events.created_ats), n) <> n THEN
        RAISE EXCEPTION 'a batch needs at least one event, and as many payloads, metadatas and times as types'
            USING ERRCODE = 'RF005';
    END IF;
    IF expected IS NULL OR NOT (expected IN ('any', 'exists', 'no_stream') OR expected ~ '^[0-9]{1,9}$') THEN
        RAISE EXCEPTION 'expected_version is %; give any, exists, no_stream or the last version', coalesce(expected, 'null')
            USING ERRCODE = 'RF005';
    END IF;

    the_epoch := refold.writable_epoch();

    -- The head row is the stream's lock: writers of one stream queue here, writers of others pass.
    LOOP
        SELECT s.aggregate_type, s.stream_version, s.hash, s.created_at
        INTO head_type, head_version, head_hash, head_time
        FROM refold.streams AS s WHERE s.aggregate_id = stream FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO refold.streams (aggregate_id, aggregate_type, stream_version, hash, created_at)
        VALUES (stream, kind, 0, decode(repeat('00', 32), 'hex'), '0001-01-01 00:00:00+00')
        ON CONFLICT DO NOTHING;
    END LOOP;

    wanted := CASE WHEN expected IN ('any', 'exists') THEN head_version WHEN expected = 'no_stream' THEN 0 ELSE expected::integer END;
    IF wanted < head_version THEN
        -- A month may be taking over its strays. Wait for it here: find_batch, waiting inside, would look with a snapshot
        -- from before, in which the moved rows are not yet there and no longer here.
        LOCK TABLE ONLY refold.events IN ACCESS SHARE MODE;
        SELECT * INTO first_version, last_version, first_position, last_position
        FROM refold.find_batch(
            stream, wanted, append_events.event_types, append_events.payloads, append_events.metadatas, append_events.created_ats
        );
        IF first_version IS NOT NULL THEN
            duplicate := true;
            RETURN;
        END IF;
    END IF;
    IF wanted <> head_version OR (expected = 'exists' AND head_version = 0) THEN
        RAISE EXCEPTION 'stream %: expected %, stream is at %', stream, expected, head_version
            USING ERRCODE = 'RF001', DETAIL = jsonb_build_object('expected', expected, 'actual', head_version)::text;
    END IF;
    IF kind <> head_type THEN
        RAISE EXCEPTION 'stream % has aggregate_type %, the batch says %', stream, head_type, kind USING ERRCODE = 'RF005';
    END IF;

    FOR event IN
        SELECT b.event_type, t.event_version, b.payload, coalesce(b.metadata, '{}') AS metadata, b.created_at, b.ordinality
        FROM unnest(append_events.event_types, append_events.payloads, append_events.metadatas, append_events.created_ats)
        WITH ORDINALITY AS b (event_type, payload, metadata, created_at)
        LEFT JOIN refold.event_types AS t ON b.event_type = t.event_type
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
        -- Also what a follower, Python and Parquet can hold; infinity is outside.
        IF event.created_at < '0001-01-01 00:00:00+00' OR event.created_at >= '10000-01-01 00:00:00+00' THEN
            RAISE EXCEPTION 'event % of the batch: created_at % is outside the years 1 to 9999', event.ordinality, event.created_at
                USING ERRCODE = 'RF005';
        END IF;
        event_metadata := event.metadata;
        IF event.created_at < head_time AND NOT event_metadata ? 'occurred_at' THEN
            event_metadata := event_metadata || jsonb_build_object('occurred_at', refold.utc_text(event.created_at));
        END IF;
        head_time := greatest(coalesce(event.created_at, at_now), head_time);
        head_version := head_version + 1;
        content := convert_to(
            concat_ws(
                E'\n', '1', stream::text, kind, head_version::text, event.event_type, event.event_version::text,
                (extract(EPOCH FROM head_time) * 1000000)::bigint::text, event.payload::text, event_metadata::text
            ),
            'UTF8'
        );
        IF octet_length(content) > max_event_bytes THEN
            RAISE EXCEPTION 'event % of the batch holds % bytes; at most % are stored', event.ordinality, octet_length(content), max_event_bytes
                USING ERRCODE = 'RF006';
        END IF;
        -- Either takes more text than most events have.
        IF octet_length(content) > 500 AND (event.payload @? too_deep OR event_metadata @? too_deep) THEN
            RAISE EXCEPTION 'event % of the batch is nested too deeply; at most 250 levels are stored', event.ordinality
                USING ERRCODE = 'RF008';
        END IF;
        IF octet_length(content) > 4300 AND (event.payload @? too_long OR event_metadata @? too_long) THEN
            RAISE EXCEPTION 'event % of the batch holds a number of more than 4300 digits, which cannot be stored', event.ordinality
                USING ERRCODE = 'RF008';
        END IF;
        head_hash := sha256(head_hash || content);
        event_versions[event.ordinality] := event.event_version;
        event_metadatas[event.ordinality] := event_metadata;
        event_times[event.ordinality] := head_time;
        hashes[event.ordinality] := head_hash;
    END LOOP;

    WITH appended AS (
        INSERT INTO refold.events (
            aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, hash
        )
        SELECT
            stream, kind, wanted + b.ordinality::integer, b.event_type, b.event_version, b.payload, b.metadata, b.created_at, the_epoch, b.hash
        FROM unnest(append_events.event_types, event_versions, append_events.payloads, event_metadatas, event_times, hashes)
        WITH ORDINALITY AS b (event_type, event_version, payload, metadata, created_at, hash)
        ORDER BY b.ordinality
        RETURNING position
    )
    SELECT min(position), max(position) INTO first_position, last_position FROM appended;

    UPDATE refold.streams AS s
    SET stream_version = head_version, hash = head_hash, created_at = head_time
    WHERE s.aggregate_id = stream;

    first_version := wanted + 1;
    last_version := head_version;
    duplicate := false;
END
$$;
