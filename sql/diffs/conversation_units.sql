-- One side of a comparison by conversation: every tool call of the agent in order, one block per agent message, and the
-- last text that is not blank. A list's hash is over the hashes of its messages that call tools.
-- Where somebody was asked (not $is_recorded), decisions without any context are left out: they were put before nobody.
-- Parameters: $is_recorded: both sides are complete recorded runs.
-- Relations: unit_streams (unit_id, aggregate_id), streams, covered (unit_id, covered_to: the last decision that counts); macro is_said.
-- grain: one conversation
WITH counted AS (
    SELECT
        decisions.*,
        unit_streams.unit_id
    FROM decisions
    INNER JOIN unit_streams ON decisions.aggregate_id = unit_streams.aggregate_id
    LEFT JOIN covered ON unit_streams.unit_id = covered.unit_id
    WHERE
        (covered.covered_to IS NULL OR decisions.decision <= covered.covered_to)
        AND ($is_recorded OR decisions.context_messages IS DISTINCT FROM 0)
),

acted AS (
    SELECT
        counted.unit_id,
        flatten(
            list(
                list_transform(
                    counted.tool_calls,
                    LAMBDA call: {
                        'block': counted.decision,
                        'name': call.name,
                        'arguments': call.arguments,
                        'recorded': call.recorded,
                        'is_invalid_json': call.is_invalid_json
                    }
                )
                ORDER BY counted.decision
            )
        ) AS tool_calls,
        sum(counted.call_count)::INTEGER AS call_count,
        string_agg(counted.l0_hash, chr(10) ORDER BY counted.decision) AS l0_hashes,
        string_agg(counted.l1_hash, chr(10) ORDER BY counted.decision) AS l1_hashes,
        string_agg(counted.l2_hash, chr(10) ORDER BY counted.decision) AS l2_hashes
    FROM counted
    WHERE counted.call_count > 0
    GROUP BY counted.unit_id
),

said AS (
    SELECT
        counted.unit_id,
        arg_max(counted.text, counted.decision) FILTER (WHERE is_said(counted.text)) AS text,
        arg_max(counted.is_refusal, counted.decision) FILTER (WHERE is_said(counted.text)) AS is_refusal,
        sum(counted.input_tokens)::BIGINT AS input_tokens,
        sum(counted.output_tokens)::BIGINT AS output_tokens,
        sum(counted.latency_ms ORDER BY counted.decision) AS latency_ms,
        sum(counted.cost_usd ORDER BY counted.decision) AS cost_usd,
        coalesce(bool_or(counted.is_erased OR counted.is_context_erased), FALSE) AS is_erased
    FROM counted
    GROUP BY counted.unit_id
)

SELECT
    unit_streams.unit_id,
    streams.aggregate_id,
    NULL::INTEGER AS decision,
    CASE WHEN $is_recorded THEN streams.final_text ELSE said.text END AS text,
    said.is_refusal,
    coalesce(acted.tool_calls, []) AS tool_calls,
    coalesce(acted.call_count, 0) AS call_count,
    sha256(coalesce(acted.l0_hashes, '')) AS l0_hash,
    sha256(coalesce(acted.l1_hashes, '')) AS l1_hash,
    sha256(coalesce(acted.l2_hashes, '')) AS l2_hash,
    NULL::VARCHAR AS request_sha256,
    CASE WHEN $is_recorded THEN streams.input_tokens ELSE said.input_tokens END AS input_tokens,
    CASE WHEN $is_recorded THEN streams.output_tokens ELSE said.output_tokens END AS output_tokens,
    said.latency_ms,
    CASE WHEN $is_recorded THEN streams.cost_usd ELSE said.cost_usd END AS cost_usd,
    streams.outcome,
    covered.covered_to,
    FALSE AS is_rebuilt,
    coalesce(said.is_erased, FALSE) AS is_erased,
    ($is_recorded OR said.unit_id IS NOT NULL) AND NOT coalesce(said.is_erased, FALSE) AS is_asked
FROM unit_streams
INNER JOIN streams ON unit_streams.aggregate_id = streams.aggregate_id
LEFT JOIN covered ON unit_streams.unit_id = covered.unit_id
LEFT JOIN acted ON unit_streams.unit_id = acted.unit_id
LEFT JOIN said ON unit_streams.unit_id = said.unit_id
