-- purpose: Events of these streams, redacted, upcast, and read into columns once.
-- parameters: opens_turn, the expression of the file of that name; $scope, which events: those of the month up to the time,
--             or of before it, if a stream is folded from its first
-- grain: one event
-- key: stream_no, stream_version
-- columns: is_said is whether there is text that is not blank
-- notes: `payload` is kept for the rare types alone; of utterances, calls and results the columns say all that folds use.
--        `message_key` and `call_key` turn "none given" into a value, so that two events without an id compare as equal.
SELECT
    told.stream_no,
    told.stream_version,
    told.position,
    told.created_at,
    told.event_name,
    told.envelope.message_id,
    coalesce('=' || told.envelope.message_id, '-') AS message_key,
    coalesce(told.envelope.actor = 'user', FALSE) AS is_by_user,
    told.envelope.source,
    told.envelope.source_id,
    told.envelope.source_ordinal,
    told.envelope.subject_id,
    told.said.text,
    -- blank is what Unicode counts as white space
    coalesce(
        regexp_matches(
            told.said.text,
            '[^\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]'
        ),
        FALSE
    ) AS is_said,
    CASE
        WHEN coalesce(told.event_name <> 'user.utterance', TRUE) THEN FALSE
        WHEN told.said.text <> '' THEN TRUE
        ELSE coalesce($opens_turn, FALSE)
    END AS opens_turn,
    told.said.call_id,
    told.said.name,
    -- the value of arguments, as `pipelines/canonical/arguments.py` says; what DuckDB reads and JSON is not: NaN, a last comma
    CASE
        WHEN told.event_name <> 'tool.call' THEN NULL
        WHEN told.recorded IS NULL OR told.recorded = '""' THEN '{}'
        WHEN told.recorded[1] <> '"' THEN told.recorded
        WHEN
            json_valid(told.recorded ->> '$')
            AND NOT regexp_matches(
                regexp_replace(told.recorded ->> '$', '"(?:[^"\\]|\\.)*"', '""', 'g'),
                '(?i:nan|inf)|,[ \t\r\n]*[\]}]'
            )
            THEN json_extract(told.recorded ->> '$', '$')::VARCHAR
        ELSE told.recorded
    END AS arguments,
    coalesce(told.said.output, 'null')::VARCHAR AS output,
    nullif(told.said.error, 'null')::VARCHAR AS error,
    CASE WHEN told.said IS NULL THEN told.payload END AS payload
FROM (
    SELECT
        streams.stream_no,
        history.stream_version,
        history.position,
        history.created_at,
        history.event_name,
        history.payload,
        json_transform(
            history.metadata,
            '{"message_id": "VARCHAR", "actor": "VARCHAR", "source": "VARCHAR", "source_id": "VARCHAR", '
            || '"source_ordinal": "BIGINT", "subject_id": "VARCHAR"}'
        ) AS envelope,
        CASE
            WHEN history.event_name = 'tool.call' THEN json_extract(history.payload, '$.arguments')::VARCHAR
        END AS recorded,
        CASE
            WHEN history.event_name IN ('user.utterance', 'agent.utterance', 'tool.call', 'tool.result')
                THEN json_transform(
                    history.payload,
                    '{"text": "VARCHAR", "call_id": "VARCHAR", "name": "VARCHAR", '
                    || '"output": "JSON", "error": "JSON"}'
                )
        END AS said
    FROM readable_events AS history
    INNER JOIN as_of_streams AS streams ON history.aggregate_id = streams.aggregate_id
    WHERE $scope
) AS told
