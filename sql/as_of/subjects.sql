-- purpose: All events up to the month's end about the people whom the month touches, in whatever stream they are.
-- parameters: $month, YYYY-MM
-- grain: one event about a touched person
-- key: aggregate_id, stream_version
WITH about AS (
    SELECT
        history.aggregate_id,
        history.aggregate_type,
        history.stream_version,
        history.created_at,
        history.position,
        history.event_name,
        json_extract_string(history.metadata, '$.subject_id') AS subject_id,
        coalesce(
            '=' || json_extract_string(history.metadata, '$.message_id'), history.stream_version::VARCHAR
        ) AS message_key,
        CASE
            WHEN history.event_name IN ('user.utterance', 'model.decision', 'row.changed')
                THEN json_transform(
                    history.payload,
                    '{"text": "VARCHAR", "usage": {"input_tokens": "BIGINT", "output_tokens": "BIGINT"}, '
                    || '"cost_usd": "VARCHAR", "table": "VARCHAR", "key": "JSON", "before": "JSON", "after": "JSON"}'
                )
        END AS said
    FROM readable_events AS history
    WHERE history.month <= $month AND history.created_at <= $time
)

SELECT about.*
FROM about
WHERE
    about.subject_id IN (
        SELECT touched.subject_id
        FROM as_of_touched AS touched
    )
