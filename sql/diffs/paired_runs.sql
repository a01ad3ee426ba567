-- Pair the baseline's runs with the recorded candidate's by task key (source, task).
-- Parameters: $b_source, $b_variant (null: any), $b_run. Relations: baseline_streams (already in window and
-- filter), streams (all).
-- Where a variant ran a task more than once, the baseline's first run counts and the candidate's run of the number $b_run:
-- smallest source_ordinal, then first in the store.
-- grain: one task that both sides ran
WITH first_runs AS (
    SELECT
        'a' AS side,
        *
    FROM baseline_streams
    WHERE task IS NOT NULL
    UNION ALL BY NAME
    SELECT
        'b' AS side,
        *
    FROM streams
    WHERE
        task IS NOT NULL
        AND ($b_source IS NULL OR source = $b_source)
        AND ($b_variant IS NULL OR variant = $b_variant)
),

ranked AS (
    SELECT *
    FROM first_runs
    QUALIFY
        row_number() OVER (PARTITION BY side, source, task ORDER BY source_ordinal, last_position, aggregate_id)
        = CASE side WHEN 'a' THEN 1 ELSE $b_run END
)

SELECT
    a.aggregate_id,
    b.aggregate_id AS recorded_aggregate_id
FROM ranked AS a
INNER JOIN ranked AS b ON a.source = b.source AND a.task = b.task
WHERE a.side = 'a' AND b.side = 'b'
