-- Every version that is planned, and how far it is: what the newest commits of its replays and of its summary say.
-- of: versions
-- grain: one version of an experiment
-- adds: state VARCHAR planned, replayed, or complete, which is a version with a summary.
WITH reached AS (
    SELECT
        partition,
        max_by(row_count, number) FILTER (WHERE dataset = 'ab_summary') AS summary_rows,
        max_by(input_hash, number) FILTER (WHERE dataset = 'replays') AS replayed
    FROM commits
    WHERE dataset IN ('ab_summary', 'replays')
    GROUP BY partition
)

SELECT
    versions_history.*,
    CASE
        WHEN coalesce(reached.summary_rows, 0) > 0 THEN 'complete'
        WHEN reached.replayed = versions_history.version_id THEN 'replayed'
        ELSE 'planned'
    END AS state
FROM versions_history
LEFT JOIN reached
    ON reached.partition = 'experiment=' || versions_history.experiment || '/version_id=' || versions_history.version_id
