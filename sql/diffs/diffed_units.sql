-- Rows of ab_units. Relations: unit_pairs, unit_facts.
-- grain: one unit pair
SELECT
    units.* EXCLUDE (unit_row, tool_calls_a, tool_calls_b, settled),
    facts.* EXCLUDE (unit_row)
FROM unit_pairs AS units
INNER JOIN unit_facts AS facts ON units.unit_row = facts.unit_row
