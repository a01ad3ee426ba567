-- Each experiment's newest complete version. The summary is committed last: a version with a summary is complete.
-- of: replay_steps
-- grain: one step of one replayed turn or conversation × side × draw of the newest complete version
SELECT *
FROM replay_steps_history
WHERE 'experiment=' || experiment || '/version_id=' || version_id IN (
    SELECT max_by(partition, completed_at)
    FROM (
        SELECT
            partition,
            -- a revision after an erasure makes a version no newer
            max(coalesce((provenance ->> '$.completed_at')::TIMESTAMP WITH TIME ZONE, committed_at)) AS completed_at
        FROM commits
        WHERE dataset = 'ab_summary'
        GROUP BY partition
        HAVING max_by(row_count, committed_at) > 0 -- else it was pruned
    ) AS versions
    GROUP BY split_part(partition, '/', 1)
)
