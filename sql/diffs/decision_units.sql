-- One side of a comparison by decision: what was decided.
-- Parameters: $is_single: only the first decision after the first user text.
-- Relation: unit_streams (unit_id, aggregate_id); macro is_rebuilt.
-- grain: one decision
SELECT
    unit_streams.unit_id || '/' || decisions.decision AS unit_id,
    decisions.aggregate_id,
    decisions.decision,
    decisions.text,
    decisions.is_refusal,
    list_transform(
        decisions.tool_calls,
        LAMBDA call: {
            'block': 0,
            'name': call.name,
            'arguments': call.arguments,
            'recorded': call.recorded,
            'is_invalid_json': call.is_invalid_json
        }
    ) AS tool_calls,
    decisions.call_count,
    decisions.l0_hash,
    decisions.l1_hash,
    decisions.l2_hash,
    decisions.request_sha256,
    decisions.input_tokens,
    decisions.output_tokens,
    decisions.latency_ms,
    decisions.cost_usd,
    NULL::VARCHAR AS outcome,
    NULL::INTEGER AS covered_to,
    is_rebuilt(decisions.history, decisions.context_verified) AS is_rebuilt,
    coalesce(decisions.is_erased OR decisions.is_context_erased, FALSE) AS is_erased,
    coalesce(decisions.context_messages <> 0, TRUE)
    AND NOT coalesce(decisions.is_erased OR decisions.is_context_erased, FALSE) AS is_asked
FROM decisions
INNER JOIN unit_streams ON decisions.aggregate_id = unit_streams.aggregate_id
WHERE NOT $is_single OR decisions.turn >= 1
QUALIFY NOT $is_single OR row_number() OVER (PARTITION BY decisions.aggregate_id ORDER BY decisions.decision) = 1
