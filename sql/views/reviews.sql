-- The verdicts that stand, from the log: of what a reviewer said of a pair, the first that was not withdrawn.
-- of: reviews
-- grain: one verdict that stands
WITH said AS (
    SELECT
        aggregate_id,
        stream_version,
        event_name,
        payload,
        created_at
    FROM readable_events
    WHERE aggregate_type = 'review' AND event_name IN ('verdict.recorded', 'verdict.withdrawn') AND NOT is_erased
)

SELECT
    payload ->> '$.experiment' AS experiment,
    payload ->> '$.version_id' AS version_id,
    payload ->> '$.unit_id' AS unit_id,
    payload ->> '$.reviewer' AS reviewer,
    payload ->> '$.choice' AS choice,
    payload ->> '$.reason' AS reason,
    payload ->> '$.left' AS left_side,
    (payload ->> '$.seconds')::DOUBLE AS seconds,
    payload ->> '$.design' AS design,
    (payload ->> '$.probability')::DOUBLE AS probability,
    payload ->> '$.verdict_id' AS verdict_id,
    aggregate_id,
    stream_version,
    created_at AS recorded_at
FROM said
WHERE
    event_name = 'verdict.recorded'
    AND NOT EXISTS (
        SELECT 1
        FROM said AS withdrawn
        WHERE
            withdrawn.event_name = 'verdict.withdrawn'
            AND withdrawn.aggregate_id = said.aggregate_id
            AND withdrawn.payload ->> '$.verdict_id' = said.payload ->> '$.verdict_id'
    )
QUALIFY row_number() OVER (
    PARTITION BY aggregate_id, payload ->> '$.reviewer', payload ->> '$.unit_id' ORDER BY stream_version
) = 1
