-- What agents under replay sent to their gateway, or tried to reach, and were refused.
-- of: agent_refusals
-- after: replays
-- grain: one request of an agent's that was turned away, of the newest complete version
SELECT
    replays.experiment,
    replays.version_id,
    replays.unit_id,
    replays.aggregate_id,
    replays.side,
    replays.draw,
    refusals.number::INTEGER AS number,
    replays.refused[refusals.number].why AS why,
    replays.refused[refusals.number].method AS method,
    replays.refused[refusals.number].target AS target
FROM replays
CROSS JOIN LATERAL unnest(range(1, coalesce(len(replays.refused), 0) + 1)) AS refusals (number)
