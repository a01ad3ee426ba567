-- What was judged of conversations, their messages and their tool calls, from the log.
-- of: scores
-- grain: one score
SELECT
    aggregate_id,
    stream_version,
    metadata ->> '$.source' AS source,
    payload ->> '$.name' AS name,
    payload -> '$.value' AS value,
    CASE json_type(payload, '$.value')
        WHEN 'BOOLEAN' THEN (payload ->> '$.value' = 'true')::INTEGER::DOUBLE
        ELSE CASE WHEN json_type(payload, '$.value') <> 'VARCHAR' THEN try_cast(payload ->> '$.value' AS DOUBLE) END
    END AS number,
    payload ->> '$.label' AS label,
    payload ->> '$.kind' AS kind,
    payload ->> '$.source' AS scorer,
    payload ->> '$.comment' AS comment,
    payload ->> '$.target.message_id' AS message_id,
    payload ->> '$.target.call_id' AS call_id,
    payload ->> '$.recorded_at' AS recorded_at,
    created_at
FROM readable_events
WHERE event_name = 'score.recorded' AND NOT is_erased
