-- Record an erasure, or a part of one: the entry of the home log, the event for followers, and the rows by which events may lose their
-- content (see erase_events). Nothing is erased here. Answers the entry's place.
--
-- document   canonical JSON text of the erasure, kept byte for byte: erasure, reason, targets (stream, first, last, is_whole)
-- signature  Ed25519 signature over the text's bytes; NULL for none
-- is_again   the store lost the record (it came back from a backup): targets that are not there are passed over
CREATE OR REPLACE FUNCTION refold.record_erasure(document text, signature bytea DEFAULT null, is_again boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said CONSTANT jsonb := record_erasure.document::jsonb;
    the_erasure CONSTANT uuid := (said ->> 'erasure')::uuid;
    streams CONSTANT uuid[] := ARRAY(SELECT DISTINCT (t ->> 'stream')::uuid FROM jsonb_array_elements(said -> 'targets') AS t);
    target record;
BEGIN
    IF said ->> 'format' IS DISTINCT FROM 'refold-erasure/1' OR coalesce(btrim(said ->> 'reason'), '') = '' OR cardinality(streams) = 0 THEN
        RAISE EXCEPTION 'this is no erasure with a reason and targets' USING ERRCODE = 'RF005';
    END IF;
    -- In one order, so that two erasures do not wait for each other; no stream grows until this has ended.
    PERFORM FROM refold.streams AS s WHERE s.aggregate_id = ANY (streams) ORDER BY s.aggregate_id FOR UPDATE;
    FOR target IN
        SELECT t.stream, t.first, t.last, t.is_whole, s.aggregate_type, coalesce(s.stream_version, 0) AS head
        FROM jsonb_to_recordset(said -> 'targets') AS t (stream uuid, first integer, last integer, is_whole boolean)
        LEFT JOIN refold.streams AS s ON t.stream = s.aggregate_id
    LOOP
        IF target.aggregate_type = 'erasure' THEN
            RAISE EXCEPTION 'stream % says what was erased; it cannot be erased', target.stream USING ERRCODE = 'RF005';
        END IF;
        IF NOT record_erasure.is_again AND NOT coalesce(target.first BETWEEN 1 AND target.last AND target.last <= target.head, false) THEN
            RAISE EXCEPTION 'stream % has no versions % to %: it ends at %', target.stream, target.first, target.last, target.head
                USING ERRCODE = 'RF005';
        END IF;
        IF NOT record_erasure.is_again AND target.is_whole AND (target.first, target.last) <> (1, target.head) THEN
            RAISE EXCEPTION 'stream % grew to version % meanwhile; nothing was recorded', target.stream, target.head
                USING ERRCODE = '40001';
        END IF;
    END LOOP;

    -- A stream's events of a month follow on each other: a row for each stream, month and target.
    INSERT INTO refold.erasures (erasure, aggregate_id, month, first_version, last_version)
    SELECT the_erasure, e.aggregate_id, to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month, min(e.stream_version), max(e.stream_version)
    FROM jsonb_to_recordset(said -> 'targets') AS t (stream uuid, first integer, last integer, is_whole boolean)
    INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND e.stream_version BETWEEN t.first AND t.last
    GROUP BY e.aggregate_id, t.first, month
    ON CONFLICT DO NOTHING;
    PERFORM refold.refuse_held(the_erasure);
    UPDATE refold.streams AS s SET is_erased = true
    FROM jsonb_to_recordset(said -> 'targets') AS t (stream uuid, first integer, last integer, is_whole boolean)
    WHERE s.aggregate_id = t.stream AND t.is_whole;

    PERFORM refold.append_events(
        the_erasure, 'erasure', 'any', ARRAY['erasure.applied.v1'],
        ARRAY[jsonb_build_object('reason', said -> 'reason', 'targets', said -> 'targets')],
        ARRAY[jsonb_build_object('actor', 'system')]
    );
    RETURN refold.note('erased', null, null, record_erasure.document, record_erasure.signature);
END
$$;
