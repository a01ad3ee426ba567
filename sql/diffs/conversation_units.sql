-- One side of a comparison by conversation: every tool call of the agent in order, one block per agent message, and the
-- last text that is not blank. A list's hash is over the hashes of its messages that call tools.
-- Relations: unit_streams (unit_id, aggregate_id), streams.
-- grain: one conversation
WITH acted AS (
    SELECT
        decisions.aggregate_id,
        flatten(
            list(
                list_transform(
                    decisions.tool_calls,
                    LAMBDA call: {'block': decisions.decision, 'name': call.name, 'arguments': call.arguments}
                )
                ORDER BY decisions.decision
            )
        ) AS tool_calls,
        sum(decisions.call_count)::INTEGER AS call_count,
        string_agg(decisions.l0_hash, chr(10) ORDER BY decisions.decision) AS l0_hashes,
        string_agg(decisions.l1_hash, chr(10) ORDER BY decisions.decision) AS l1_hashes,
        string_agg(decisions.l2_hash, chr(10) ORDER BY decisions.decision) AS l2_hashes
    FROM decisions
    INNER JOIN unit_streams ON decisions.aggregate_id = unit_streams.aggregate_id
    WHERE decisions.call_count > 0
    GROUP BY decisions.aggregate_id
),

timed AS (
    SELECT
        decisions.aggregate_id,
        sum(decisions.latency_ms ORDER BY decisions.decision) AS latency_ms
    FROM decisions
    INNER JOIN unit_streams ON decisions.aggregate_id = unit_streams.aggregate_id
    GROUP BY decisions.aggregate_id
)

SELECT
    unit_streams.unit_id,
    streams.aggregate_id,
    NULL::INTEGER AS decision,
    streams.final_text AS text,
    coalesce(acted.tool_calls, []) AS tool_calls,
    coalesce(acted.call_count, 0) AS call_count,
    sha256(coalesce(acted.l0_hashes, '')) AS l0_hash,
    sha256(coalesce(acted.l1_hashes, '')) AS l1_hash,
    sha256(coalesce(acted.l2_hashes, '')) AS l2_hash,
    NULL::VARCHAR AS request_sha256,
    streams.input_tokens,
    streams.output_tokens,
    timed.latency_ms,
    streams.cost_usd,
    streams.outcome
FROM unit_streams
INNER JOIN streams ON unit_streams.aggregate_id = streams.aggregate_id
LEFT JOIN acted ON unit_streams.aggregate_id = acted.aggregate_id
LEFT JOIN timed ON unit_streams.aggregate_id = timed.aggregate_id
