-- What the diff found about units: settled in SQL, or by Python for the units that differ.
-- Relations: unit_pairs, call_units (unit_row, unit_class, …), text_units (unit_row, text_class, sim_tok, …),
-- metrics_a, metrics_b (unit_row, metrics, errors), call_flags (name, arguments, flags). Macros recorded_text, is_refusal, money_in.
-- grain: one unit pair
WITH invalid_calls AS (
    SELECT
        name,
        arguments
    FROM call_flags
    WHERE
        list_has_any(
            flags, ['args_invalid_json', 'args_not_object', 'args_too_deep', 'missing_required', 'schema_invalid']
        )
),

invalid_a AS (
    SELECT
        made.unit_row,
        count(*)::INTEGER AS calls
    FROM (
        SELECT
            unit_row,
            unnest(tool_calls_a) AS call
        FROM unit_pairs
    ) AS made
    INNER JOIN invalid_calls AS invalid
        ON made.call.name = invalid.name AND recorded_text(made.call) IS NOT DISTINCT FROM invalid.arguments
    GROUP BY made.unit_row
),

invalid_b AS (
    SELECT
        made.unit_row,
        count(*)::INTEGER AS calls
    FROM (
        SELECT
            unit_row,
            unnest(tool_calls_b) AS call
        FROM unit_pairs
    ) AS made
    INNER JOIN invalid_calls AS invalid
        ON made.call.name = invalid.name AND recorded_text(made.call) IS NOT DISTINCT FROM invalid.arguments
    GROUP BY made.unit_row
)

SELECT
    units.unit_row,
    CASE
        WHEN units.status = 'failed' THEN 'error'
        WHEN units.settled IS NOT NULL THEN 'same_calls'
        ELSE calls.unit_class
    END AS unit_class,
    units.settled IS NOT NULL OR calls.is_same_names AS is_same_names,
    units.settled IS NOT NULL OR calls.is_same_calls AS is_same_calls,
    CASE
        WHEN units.text_a IS NOT NULL AND units.text_b IS NOT NULL THEN units.text_a = units.text_b
    END AS is_same_final,
    CASE WHEN units.status <> 'not_asked' THEN len(units.tool_calls_a)::INTEGER END AS calls_a,
    CASE WHEN units.status = 'ok' THEN len(units.tool_calls_b)::INTEGER END AS calls_b,
    CASE WHEN units.settled IS NOT NULL THEN len(units.tool_calls_a)::INTEGER ELSE calls.same END AS same,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.reordered END AS reordered,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.args_changed END AS args_changed,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.name_changed END AS name_changed,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.name_args_changed END AS name_args_changed,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.added END AS added,
    CASE WHEN units.settled IS NOT NULL THEN 0 ELSE calls.removed END AS removed,
    CASE WHEN units.text_a = units.text_b THEN 'identical' ELSE texts.text_class END AS text_class,
    CASE WHEN units.text_a = units.text_b THEN 1.0 ELSE texts.sim_tok END AS sim_tok,
    CASE WHEN units.text_a = units.text_b THEN 1.0 ELSE texts.sim_char END AS sim_char,
    CASE WHEN units.text_a = units.text_b THEN TRUE ELSE texts.text_equal_norm END AS is_same_norm,
    CASE WHEN units.status <> 'not_asked' THEN length(units.text_a)::INTEGER END AS len_chars_a,
    length(units.text_b)::INTEGER AS len_chars_b,
    texts.len_tok_a::INTEGER AS len_tok_a,
    texts.len_tok_b::INTEGER AS len_tok_b,
    length(units.text_b) / nullif(length(units.text_a), 0) AS len_ratio,
    CASE WHEN units.text_a = units.text_b THEN FALSE ELSE texts.is_code_changed END AS is_code_changed,
    CASE WHEN units.text_a = units.text_b THEN FALSE ELSE texts.is_list_changed END AS is_list_changed,
    CASE WHEN units.text_a = units.text_b THEN FALSE ELSE texts.is_links_changed END AS is_links_changed,
    texts.numbers_jaccard,
    CASE WHEN units.text_a = units.text_b THEN FALSE ELSE texts.is_cut END AS is_text_cut,
    CASE WHEN units.status <> 'not_asked' THEN coalesce(invalid_a.calls, 0) END AS invalid_calls_a,
    CASE WHEN units.status = 'ok' THEN coalesce(invalid_b.calls, 0) END AS invalid_calls_b,
    CASE
        WHEN units.status <> 'not_asked' THEN units.is_marked_refusal_a OR is_refusal(coalesce(units.text_a, ''))
    END AS is_refusal_a,
    CASE
        WHEN units.status = 'ok' THEN units.is_marked_refusal_b OR is_refusal(coalesce(units.text_b, ''))
        WHEN units.reason = 'refused' THEN TRUE
    END AS is_refusal_b,
    list_sum(list_transform(units.tool_calls_a, LAMBDA call: money_in(call.arguments))) AS money_a,
    CASE
        WHEN units.status = 'ok'
            THEN list_sum(list_transform(units.tool_calls_b, LAMBDA call: money_in(call.arguments)))
    END AS money_b,
    coalesce(own_a.metrics, map([], [])) AS metrics_a,
    coalesce(own_b.metrics, map([], [])) AS metrics_b,
    coalesce(own_a.errors, map([], [])) AS metric_errors_a,
    coalesce(own_b.errors, map([], [])) AS metric_errors_b
FROM unit_pairs AS units
LEFT JOIN call_units AS calls ON units.unit_row = calls.unit_row
LEFT JOIN text_units AS texts ON units.unit_row = texts.unit_row
LEFT JOIN metrics_a AS own_a ON units.unit_row = own_a.unit_row
LEFT JOIN metrics_b AS own_b ON units.unit_row = own_b.unit_row
LEFT JOIN invalid_a ON units.unit_row = invalid_a.unit_row
LEFT JOIN invalid_b ON units.unit_row = invalid_b.unit_row
