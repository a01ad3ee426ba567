-- What the diff found about units: settled in SQL, or by Python for the units that differ.
-- Relations: unit_pairs, call_units (unit_row, unit_class, …), text_units (unit_row, text_class, sim_tok, sim_char),
-- metrics_a, metrics_b (unit_row, metrics).
-- grain: one unit pair
SELECT
    units.unit_row,
    CASE
        WHEN units.status <> 'ok' THEN 'error'
        WHEN units.settled IS NOT NULL THEN 'same_calls'
        ELSE calls.unit_class
    END AS unit_class,
    units.settled IS NOT NULL OR calls.is_same_names AS is_same_names,
    units.settled IS NOT NULL OR calls.is_same_calls AS is_same_calls,
    CASE
        WHEN units.text_a IS NOT NULL AND units.text_b IS NOT NULL THEN units.text_a = units.text_b
    END AS is_same_final,
    len(units.tool_calls_a)::INTEGER AS calls_a,
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
    coalesce(own_a.metrics, map([], [])) AS metrics_a,
    coalesce(own_b.metrics, map([], [])) AS metrics_b
FROM unit_pairs AS units
LEFT JOIN call_units AS calls ON units.unit_row = calls.unit_row
LEFT JOIN text_units AS texts ON units.unit_row = texts.unit_row
LEFT JOIN metrics_a AS own_a ON units.unit_row = own_a.unit_row
LEFT JOIN metrics_b AS own_b ON units.unit_row = own_b.unit_row
