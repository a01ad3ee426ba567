-- The newest state of each row.
-- of: customer_months
-- grain: one customer: their newest state
SELECT *
FROM customer_months
QUALIFY row_number() OVER (PARTITION BY subject_id ORDER BY month DESC) = 1
