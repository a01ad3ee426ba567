-- The newest state of each row.
-- of: call_months
-- grain: one voice call: its newest state
SELECT *
FROM call_months
QUALIFY row_number() OVER (PARTITION BY aggregate_id ORDER BY month DESC) = 1
