-- The newest state of each row.
-- of: conversation_months
-- grain: one conversation: its newest state
SELECT *
FROM conversation_months
QUALIFY row_number() OVER (PARTITION BY aggregate_id ORDER BY month DESC) = 1
