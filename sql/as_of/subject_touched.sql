-- purpose: The customers about whom there are events in the month of the time that is asked for; all others stand as their
--          monthly states say.
-- parameters: $month, of the time
-- grain: one customer with an event about them in the month, before or after the time
-- key: subject_id
SELECT DISTINCT json_extract_string(events.metadata, '$.subject_id') AS subject_id
FROM events
WHERE events.month = $month AND json_extract_string(events.metadata, '$.subject_id') IS NOT NULL
