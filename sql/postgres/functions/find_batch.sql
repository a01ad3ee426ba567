-- Where a batch already stands in its stream: the answer of the append that stored it, or nulls.
--
-- after_version  the version the batch was to follow; the other parameters are those of refold.append_events
--
-- Same means the same content: types, payloads, metadata, and the time where one was given (the stored time may have been
-- raised; then the given one is in metadata.occurred_at, which is left out of the comparison of metadata).
CREATE OR REPLACE FUNCTION refold.find_batch(
    stream uuid,
    after_version integer,
    event_types text[],
    payloads jsonb[],
    metadatas jsonb[],
    created_ats timestamptz[],
    OUT first_version integer,
    OUT last_version integer,
    OUT first_position bigint,
    OUT last_position bigint
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(e.stream_version), max(e.stream_version), min(e.position), max(e.position)
    FROM unnest(find_batch.event_types, find_batch.payloads, find_batch.metadatas, find_batch.created_ats)
    WITH ORDINALITY AS b (event_type, payload, metadata, created_at)
    LEFT JOIN refold.events AS e
        ON e.aggregate_id = find_batch.stream
        AND e.stream_version = find_batch.after_version + b.ordinality
        AND e.stream_version BETWEEN find_batch.after_version + 1 AND find_batch.after_version + cardinality(find_batch.event_types)
        AND e.event_type = b.event_type
        AND e.payload = b.payload
        AND (
            (b.created_at IS NULL AND e.metadata = coalesce(b.metadata, '{}'))
            OR (b.created_at = e.created_at AND e.metadata = coalesce(b.metadata, '{}'))
            OR (
                b.created_at < e.created_at
                AND e.metadata = jsonb_build_object('occurred_at', refold.utc_text(b.created_at)) || coalesce(b.metadata, '{}')
            )
        )
    HAVING count(e.position) = cardinality(find_batch.event_types)
$$;
