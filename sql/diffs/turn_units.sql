-- One side of a comparison by turn: from a user's text to the next, every tool call of the agent in order, one block per
-- agent message, and its last text that is not blank. A list's hash is over the hashes of its messages that call tools.
-- What the agent does before the user's first text is in no turn.
-- Relations: unit_streams (unit_id, aggregate_id), covered (unit_id, covered_to: the last decision that counts); macros is_said,
-- is_rebuilt.
-- grain: one turn in which the agent acted
WITH acts AS (
    SELECT
        unit_streams.unit_id || '/t' || decisions.turn AS unit_id,
        decisions.*
    FROM decisions
    INNER JOIN unit_streams ON decisions.aggregate_id = unit_streams.aggregate_id
    WHERE decisions.turn >= 1
)

SELECT
    acts.unit_id,
    acts.aggregate_id,
    NULL::INTEGER AS decision,
    arg_max(acts.text, acts.decision) FILTER (WHERE is_said(acts.text)) AS text,
    arg_max(acts.is_refusal, acts.decision) FILTER (WHERE is_said(acts.text)) AS is_refusal,
    coalesce(
        flatten(
            list(
                list_transform(
                    acts.tool_calls,
                    LAMBDA call: {
                        'block': acts.decision,
                        'name': call.name,
                        'arguments': call.arguments,
                        'recorded': call.recorded,
                        'is_invalid_json': call.is_invalid_json
                    }
                )
                ORDER BY acts.decision
            ) FILTER (WHERE acts.call_count > 0)
        ),
        []
    ) AS tool_calls,
    sum(acts.call_count)::INTEGER AS call_count,
    sha256(coalesce(string_agg(acts.l0_hash, chr(10) ORDER BY acts.decision) FILTER (WHERE acts.call_count > 0), ''))
        AS l0_hash,
    sha256(coalesce(string_agg(acts.l1_hash, chr(10) ORDER BY acts.decision) FILTER (WHERE acts.call_count > 0), ''))
        AS l1_hash,
    sha256(coalesce(string_agg(acts.l2_hash, chr(10) ORDER BY acts.decision) FILTER (WHERE acts.call_count > 0), ''))
        AS l2_hash,
    NULL::VARCHAR AS request_sha256,
    sum(acts.input_tokens)::BIGINT AS input_tokens,
    sum(acts.output_tokens)::BIGINT AS output_tokens,
    sum(acts.latency_ms ORDER BY acts.decision) AS latency_ms,
    sum(acts.cost_usd ORDER BY acts.decision) AS cost_usd,
    NULL::VARCHAR AS outcome,
    any_value(covered.covered_to) AS covered_to,
    bool_or(is_rebuilt(acts.history, acts.context_verified)) AS is_rebuilt,
    coalesce(bool_or(acts.is_erased OR acts.is_context_erased), FALSE) AS is_erased,
    -- after a user's text there is context
    NOT coalesce(bool_or(acts.is_erased OR acts.is_context_erased), FALSE) AS is_asked
FROM acts
LEFT JOIN covered ON acts.unit_id = covered.unit_id
WHERE covered.covered_to IS NULL OR acts.decision <= covered.covered_to
GROUP BY acts.unit_id, acts.aggregate_id
