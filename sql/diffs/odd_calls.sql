-- The different tool calls of some unit pairs about which there may be something to flag: those of tools with a schema, and
-- those whose arguments are no plain object.
-- Parameter: $tools: names of tools with a schema. Relation: unit_pairs; macros as_recorded, recorded_text, is_plain_object.
-- grain: one name and arguments
WITH calls AS (
    SELECT unnest(tool_calls_a) AS call
    FROM unit_pairs
    UNION ALL
    SELECT unnest(tool_calls_b) AS call
    FROM unit_pairs
),

different AS (
    SELECT DISTINCT
        call.name,
        recorded_text(call) AS arguments
    FROM calls
)

SELECT
    name,
    arguments
FROM different
WHERE list_contains($tools, name) OR NOT is_plain_object(as_recorded(arguments))
