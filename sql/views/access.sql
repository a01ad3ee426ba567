-- What accesses say of themselves, from the log; an event of an access names up to 1,000 streams, so its text goes on to no row.
-- of: access
-- grain: one access × stream that it is of
WITH recorded AS (
    SELECT
        aggregate_id AS access,
        created_at AS accessed_at,
        payload ->> '$.verb' AS verb,
        payload ->> '$.reason' AS reason,
        payload ->> '$.account' AS account,
        payload ->> '$.host' AS host,
        payload ->> '$.database_role' AS database_role,
        payload ->> '$.actor' AS actor,
        payload ->> '$.endpoint' AS endpoint,
        payload ->> '$.version_id' AS version_id,
        payload ->> '$.month' AS opened_month,
        is_erased,
        coalesce(
            from_json(payload -> '$.targets', '[{"stream": "VARCHAR", "first": "INTEGER", "last": "INTEGER"}]'), []
        ) AS targets
    FROM readable_events
    WHERE aggregate_type = 'access' AND (event_name = 'access.recorded' OR is_erased)
),

targeted AS (
    SELECT
        recorded.* EXCLUDE (targets),
        unnest(CASE WHEN len(recorded.targets) = 0 THEN [NULL] ELSE recorded.targets END) AS target
    FROM recorded
)

SELECT
    access,
    accessed_at,
    verb,
    reason,
    account,
    host,
    database_role,
    actor,
    endpoint,
    version_id,
    opened_month,
    target.stream AS aggregate_id,
    target.first AS first_version,
    target.last AS last_version,
    is_erased
FROM targeted
