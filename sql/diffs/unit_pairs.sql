-- Both sides of every unit: the baseline's beside the replayed one.
-- Parameters: $unit_kind, $experiment, $version_id. Relations: units_a (baseline), plan_streams, streams, replays_history;
-- macro outcome_is_good.
-- A unit that side B never answered is failed, with reason not_replayed.
-- grain: one unit pair
WITH answers AS (
    SELECT *
    FROM replays_history
    WHERE experiment = $experiment AND version_id = $version_id AND side = 'candidate' AND draw = 0
)

SELECT
    a.unit_id,
    $unit_kind AS unit,
    a.aggregate_id,
    plan_streams.recorded_aggregate_id,
    a.decision,
    a.aggregate_id AS cluster,
    plan_streams.source,
    plan_streams.agent,
    plan_streams.vertical,
    plan_streams.channel,
    plan_streams.task,
    coalesce(b.status, 'failed') AS status,
    CASE WHEN b.unit_id IS NULL THEN 'not_replayed' ELSE b.reason END AS reason,
    outcome_is_good(a.outcome) AS outcome_a,
    outcome_is_good(recorded.outcome) AS outcome_b,
    plan_streams.started_at,
    plan_streams.last_version,
    plan_streams.last_hash,
    a.text AS text_a,
    b.text AS text_b,
    a.tool_calls AS tool_calls_a,
    b.tool_calls AS tool_calls_b,
    a.call_count AS call_count_a,
    b.call_count AS call_count_b,
    a.cost_usd AS cost_usd_a,
    b.cost_usd AS cost_usd_b,
    a.latency_ms AS latency_ms_a,
    b.latency_ms AS latency_ms_b,
    a.output_tokens AS output_tokens_a,
    b.output_tokens AS output_tokens_b
FROM units_a AS a
INNER JOIN plan_streams ON a.aggregate_id = plan_streams.aggregate_id
LEFT JOIN answers AS b ON a.unit_id = b.unit_id
LEFT JOIN streams AS recorded ON plan_streams.recorded_aggregate_id = recorded.aggregate_id
ORDER BY a.unit_id
