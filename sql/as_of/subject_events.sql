-- purpose: The events of the time's month up to the time; what came before is in the states that customers bring along.
-- parameters: $month, of the time; $time
-- grain: one event
-- key: aggregate_id, stream_version
SELECT history.*
FROM readable_events AS history
WHERE history.month = $month AND history.created_at <= $time
