-- purpose: What users and agents said, redactions applied.
-- parameters: none; the steps hold the month
-- grain: one utterance of the month
-- key: aggregate_id, stream_version
-- steps: events
-- batch: streams
SELECT
    events.aggregate_id,
    events.aggregate_type,
    events.stream_version,
    events.position,
    events.source,
    events.message_id,
    events.turn,
    CASE events.event_name WHEN 'user.utterance' THEN 'user' ELSE 'agent' END AS role,
    events.text,
    events.is_erased,
    events.created_at
FROM fold_events AS events
WHERE
    events.is_in_month
    AND events.event_name IN ('user.utterance', 'agent.utterance')
ORDER BY events.aggregate_id, events.stream_version
