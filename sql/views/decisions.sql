-- The newest state of each row.
-- of: decisions
-- grain: one decision: one agent message and the context before it
SELECT *
FROM decisions_history
QUALIFY row_number() OVER (PARTITION BY aggregate_id, decision ORDER BY month DESC) = 1
