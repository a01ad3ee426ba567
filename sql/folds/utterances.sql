-- purpose: What users and agents said, redactions applied.
-- parameters: none; the steps hold the month
-- grain: one utterance of the month
-- key: aggregate_id, stream_version
-- steps: streams, events, sources
-- batch: streams
SELECT
    streams.aggregate_id,
    events.aggregate_type,
    events.stream_version,
    events.position,
    sources.source,
    events.message_id,
    events.turn,
    CASE events.event_name WHEN 'user.utterance' THEN 'user' ELSE 'agent' END AS role,
    events.text,
    events.created_at
FROM fold_events AS events
INNER JOIN fold_streams AS streams ON events.stream_no = streams.stream_no
INNER JOIN fold_sources AS sources ON events.stream_no = sources.stream_no
WHERE
    events.is_in_month
    AND events.event_name IN ('user.utterance', 'agent.utterance')
ORDER BY streams.aggregate_id, events.stream_version
