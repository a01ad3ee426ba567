-- Each experiment's newest complete version. The summary is committed last: a version with a summary is complete.
-- of: replay_steps
-- grain: one step of one replayed turn or conversation × side × draw of the newest complete version
SELECT *
FROM replay_steps_history
WHERE 'experiment=' || experiment || '/version_id=' || version_id IN (
    SELECT max_by(partition, committed_at)
    FROM commits
    WHERE dataset = 'ab_summary'
    GROUP BY split_part(partition, '/', 1)
)
