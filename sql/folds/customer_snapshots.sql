-- purpose: What a later month's fold needs of every customer whom the month touches, beside their state.
-- parameters: none; the steps hold the month
-- grain: one customer with an event about them in the month
-- key: subject_id
-- steps: customers
SELECT
    customers.subject_id,
    customers.cost_usd,
    customers.refunds
FROM fold_customers AS customers
ORDER BY customers.subject_id
