-- What everybody did at every unit of the noise floor's sample: the recording, and each draw of control and candidate.
-- Parameters: $experiment, $version_id. Relations: noise_units (the recording's units), replays_history.
-- A draw that stopped at a tool call without a recorded result, or called tools without end, did something all the same; one
-- without an answer, or whose tool answers were not the recorded ones, is not usable.
-- grain: one unit × side × draw
SELECT
    unit_id,
    'recorded' AS side,
    -1 AS draw,
    coalesce(tool_calls, []) AS tool_calls,
    l2_hash AS action,
    TRUE AS is_usable,
    FALSE AS is_recording
FROM noise_units
UNION ALL
SELECT
    unit_id,
    side,
    draw,
    coalesce(tool_calls, []) AS tool_calls,
    l2_hash AS action,
    l2_hash IS NOT NULL
    AND NOT is_off_policy
    AND coalesce(unverified_calls, 0) = 0
    AND ((status = 'ok' AND NOT is_tainted) OR reason IN ('diverged', 'step_limit')) AS is_usable,
    coalesce(recorded_aggregate_id = aggregate_id, FALSE) AS is_recording
FROM replays_history
WHERE
    experiment = $experiment
    AND version_id = $version_id
    AND unit_id IN (SELECT unit_id FROM noise_units)
