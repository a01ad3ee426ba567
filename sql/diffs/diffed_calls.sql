-- Rows of ab_tool_calls: the pairs of units that SQL settled, and those that the aligner found.
-- Relations: unit_pairs, call_pairs (unit_row, pair, class, equal_level, similarity, is_moved, position_a, position_b,
-- arg_ops), call_flags (name, arguments, flags); macros as_recorded, recorded_text.
-- grain: one aligned tool-call pair of one unit pair
WITH settled AS (
    SELECT
        unit_id,
        aggregate_id,
        unnest(range(1, len(tool_calls_a) + 1))::INTEGER AS pair,
        unnest(tool_calls_a) AS call_a,
        unnest(tool_calls_b) AS call_b,
        settled
    FROM unit_pairs
    WHERE settled IS NOT NULL
),

pairs AS (
    SELECT
        unit_id,
        aggregate_id,
        pair,
        'same' AS class,
        CASE
            WHEN settled = 'L0' OR coalesce(as_recorded(recorded_text(call_a)) = as_recorded(recorded_text(call_b)), TRUE) THEN 'L0'
            ELSE 'L1'
        END AS equal_level,
        1.0::DOUBLE AS similarity,
        FALSE AS is_moved,
        pair - 1 AS position_a,
        pair - 1 AS position_b,
        call_a,
        call_b,
        []::STRUCT(op VARCHAR, path VARCHAR, "old" VARCHAR, "new" VARCHAR)[] AS arg_ops
    FROM settled
    UNION ALL
    SELECT
        units.unit_id,
        units.aggregate_id,
        found.pair,
        found.class,
        found.equal_level,
        found.similarity,
        found.is_moved,
        found.position_a,
        found.position_b,
        units.tool_calls_a[found.position_a + 1] AS call_a,
        units.tool_calls_b[found.position_b + 1] AS call_b,
        found.arg_ops
    FROM call_pairs AS found
    INNER JOIN unit_pairs AS units ON found.unit_row = units.unit_row
)

SELECT
    pairs.* EXCLUDE (call_a, call_b),
    pairs.call_a.name AS name_a,
    pairs.call_b.name AS name_b,
    pairs.call_a.arguments AS arguments_a,
    pairs.call_b.arguments AS arguments_b,
    CASE WHEN pairs.call_a IS NOT NULL THEN coalesce(odd_a.flags, []) END AS flags_a,
    CASE WHEN pairs.call_b IS NOT NULL THEN coalesce(odd_b.flags, []) END AS flags_b
FROM pairs
LEFT JOIN call_flags AS odd_a
    ON pairs.call_a.name = odd_a.name AND recorded_text(pairs.call_a) IS NOT DISTINCT FROM odd_a.arguments
LEFT JOIN call_flags AS odd_b
    ON pairs.call_b.name = odd_b.name AND recorded_text(pairs.call_b) IS NOT DISTINCT FROM odd_b.arguments
