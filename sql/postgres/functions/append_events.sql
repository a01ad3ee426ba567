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
-- Plans are kept over a session, so they must not be those for the few rows that there were when it began.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    -- Also what a follower, Python and Parquet can hold; infinity is outside.
    earliest CONSTANT timestamptz := '0001-01-01 00:00:00+00';
    too_late CONSTANT timestamptz := '10000-01-01 00:00:00+00';
    stream CONSTANT uuid := append_events.aggregate_id;
    kind CONSTANT text := append_events.aggregate_type;
    expected CONSTANT text := append_events.expected_version;
    n CONSTANT integer := coalesce(cardinality(append_events.event_types), 0);
    at_now CONSTANT timestamptz := clock_timestamp();
    identity CONSTANT text := concat_ws(E'\n', '2', stream, kind);
    the_epoch integer;
    head_type text;
    head_version integer;
    head_hash bytea;
    head_time timestamptz;
    head_epoch integer;
    head_order xid8;
    is_new boolean;
    is_erased boolean;
    wanted integer;
    event record;
    at timestamptz;
    seed bytea;
    bound bytea;
    event_versions integer[];
    event_metadatas jsonb[];
    event_times timestamptz[];
    salts bytea[];
    sizes integer[];
    bounds bytea[];
    hashes bytea[];
    are_objects boolean;
    longest integer;
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

    -- The head row is the stream's lock: writers of one stream queue here, writers of others pass. A stream's first head is
    -- written at the loop's end with what the batch made of it; who finds another's there by then begins again behind it.
    LOOP
        SELECT s.aggregate_type, s.stream_version, s.hash, s.created_at, s.epoch, s.order_xid, s.is_erased
        INTO head_type, head_version, head_hash, head_time, head_epoch, head_order, is_erased
        FROM refold.streams AS s WHERE s.aggregate_id = stream FOR UPDATE;
        is_new := NOT FOUND;
        IF is_new THEN
            head_type := kind;
            head_version := 0;
            head_hash := decode(repeat('00', 32), 'hex');
            head_time := earliest;
        ELSIF is_erased THEN
            RAISE EXCEPTION 'stream % was erased; it takes no more events', stream USING ERRCODE = 'RF009';
        END IF;
        -- Behind the lock: a new epoch waits for whoever has it, and begins before whoever gets it later.
        SELECT CASE WHEN s.checked_start = pg_postmaster_start_time() THEN s.epoch ELSE refold.writable_epoch() END
        INTO STRICT the_epoch FROM refold.store AS s;
        -- This transaction may be older than the one it goes on from: followers take its events behind that one's.
        head_order := CASE WHEN head_epoch = the_epoch THEN greatest(pg_current_xact_id(), head_order) ELSE pg_current_xact_id() END;

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
            IF EXISTS (
                SELECT FROM refold.erasures AS x
                WHERE x.aggregate_id = stream AND x.first_version <= wanted + n AND x.last_version > wanted
            ) THEN
                RAISE EXCEPTION 'stream %: of versions % to % some were erased, and whether this batch is those cannot be told', stream, wanted + 1, wanted + n
                    USING ERRCODE = 'RF009';
            END IF;
        END IF;
        IF wanted <> head_version OR (expected = 'exists' AND is_new) THEN
            RAISE EXCEPTION 'stream %: expected %, stream is at %', stream, expected, head_version
                USING ERRCODE = 'RF001', DETAIL = jsonb_build_object('expected', expected, 'actual', head_version)::text;
        END IF;
        IF kind <> head_type THEN
            RAISE EXCEPTION 'stream % has aggregate_type %, the batch says %', stream, head_type, kind USING ERRCODE = 'RF005';
        END IF;

        event_metadatas := append_events.metadatas;
        IF append_events.created_ats IS NULL THEN
            head_time := greatest(at_now, head_time);
            event_times := array_fill(head_time, ARRAY[n]);
        ELSE
            event_times := '{}';
            FOREACH at IN ARRAY append_events.created_ats LOOP
                head_time := greatest(coalesce(at, at_now), head_time);
                event_times := event_times || head_time;
            END LOOP;
            IF event_times <> append_events.created_ats OR head_time >= too_late THEN
                FOR event IN
                    SELECT b.created_at, b.ordinality FROM unnest(append_events.created_ats) WITH ORDINALITY AS b (created_at)
                    WHERE b.created_at < earliest OR b.created_at >= too_late
                    ORDER BY b.ordinality
                LOOP
                    RAISE EXCEPTION 'event % of the batch: created_at % is outside the years 1 to 9999', event.ordinality, event.created_at
                        USING ERRCODE = 'RF005';
                END LOOP;
                event_metadatas := refold.keep_times(event_metadatas, append_events.created_ats, event_times);
            END IF;
        END IF;

        -- Of each event, in order, what its link binds: its header, a line feed, and the digest of salt and content. The sorted
        -- subquery makes each salt and each content once, not once for each use. Salts of a batch are drawn from one random
        -- value that is kept nowhere (122 random bits): one for each event took a fifth of an append.
        seed := uuid_send(gen_random_uuid());
        SELECT
            array_agg(c.event_version), array_agg(c.salt), array_agg(octet_length(c.content)),
            array_agg(convert_to(c.header, 'UTF8') || sha256(c.salt || c.content)), bool_and(c.is_object), max(octet_length(c.content))
        INTO event_versions, salts, sizes, bounds, are_objects, longest
        FROM (
            SELECT
                t.event_version,
                substring(sha256(seed || int8send(b.ordinality)), 1, 16) AS salt,
                convert_to(concat(b.payload, E'\n', coalesce(b.metadata, '{}')), 'UTF8') AS content,
                concat_ws(
                    E'\n', identity, wanted + b.ordinality, b.event_type, t.event_version,
                    (extract(EPOCH FROM b.created_at) * 1000000)::bigint, ''
                ) AS header,
                t.event_version IS NOT NULL AND coalesce(jsonb_typeof(b.payload) = 'object', false)
                AND coalesce(jsonb_typeof(b.metadata), 'object') = 'object' AS is_object
            FROM unnest(append_events.event_types, append_events.payloads, event_metadatas, event_times)
            WITH ORDINALITY AS b (event_type, payload, metadata, created_at)
            LEFT JOIN refold.event_types AS t ON b.event_type = t.event_type
            ORDER BY b.ordinality
        ) AS c;
        -- Nesting too deep to be read and numbers too long to be read take more text than most events have.
        IF NOT are_objects OR longest > 400 THEN
            PERFORM refold.check_batch(append_events.event_types, append_events.payloads, event_metadatas, sizes);
        END IF;

        hashes := '{}';
        FOREACH bound IN ARRAY bounds LOOP
            head_hash := sha256(head_hash || bound);
            hashes := hashes || head_hash;
        END LOOP;
        head_version := wanted + n;

        IF NOT is_new THEN
            UPDATE refold.streams AS s
            SET stream_version = head_version, hash = head_hash, created_at = head_time, epoch = the_epoch, order_xid = head_order
            WHERE s.aggregate_id = stream;
            EXIT;
        END IF;
        INSERT INTO refold.streams (aggregate_id, aggregate_type, stream_version, hash, created_at, epoch, order_xid)
        VALUES (stream, kind, head_version, head_hash, head_time, the_epoch, head_order)
        ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;

    -- Drawn here and not by the column: RETURNING them cost a third of the insertion.
    first_position := nextval('refold.events_position_seq');
    INSERT INTO refold.events (
        position, aggregate_id, aggregate_type, stream_version, event_type, event_version, payload, metadata, created_at, epoch, hash, order_xid, salt
    ) OVERRIDING SYSTEM VALUE
    SELECT
        CASE WHEN b.ordinality = 1 THEN first_position ELSE nextval('refold.events_position_seq') END,
        stream, kind, wanted + b.ordinality::integer, b.event_type, b.event_version, b.payload, coalesce(b.metadata, '{}'), b.created_at, the_epoch, b.hash, head_order, b.salt
    FROM unnest(append_events.event_types, event_versions, append_events.payloads, event_metadatas, event_times, hashes, salts)
    WITH ORDINALITY AS b (event_type, event_version, payload, metadata, created_at, hash, salt);
    last_position := currval('refold.events_position_seq');

    -- What was erased is said by record_erasure alone.
    IF kind = 'erasure' AND NOT EXISTS (
        SELECT FROM refold.erasures AS x WHERE x.erasure = stream AND x.noted_xid = pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'streams of type erasure are written by an erasure alone' USING ERRCODE = 'RF005';
    END IF;
    -- Nobody writes an access of somebody else.
    IF kind = 'access' AND EXISTS (
        SELECT FROM unnest(append_events.event_types, append_events.payloads) AS b (event_type, payload)
        WHERE b.event_type LIKE 'access.recorded.v%' AND b.payload ->> 'database_role' IS DISTINCT FROM session_user
    ) THEN
        RAISE EXCEPTION 'an access names who logged in, %, as its database_role; record_access writes it', session_user USING ERRCODE = 'RF005';
    END IF;
    IF strpos(array_to_string(append_events.event_types, ' '), 'redaction.applied.v') > 0 THEN
        PERFORM refold.note('redacted', null, null, jsonb_build_object(
            'format', 'refold-redaction/1', 'stream', stream, 'version', wanted + b.ordinality, 'hash', encode(b.hash, 'hex')
        )::text)
        FROM unnest(append_events.event_types, hashes) WITH ORDINALITY AS b (event_type, hash)
        WHERE b.event_type LIKE 'redaction.applied.v%'
        ORDER BY b.ordinality;
    END IF;

    first_version := wanted + 1;
    last_version := head_version;
    duplicate := false;
END
$$;
