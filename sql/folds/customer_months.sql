-- purpose: Where every customer whom the month touches stands at the end of the month, over all streams about them.
-- parameters: none; the steps hold the month
-- grain: one customer with an event about them in the month
-- key: subject_id
-- steps: customers
SELECT customers.* EXCLUDE (refunds) REPLACE (customers.cost_usd::DOUBLE AS cost_usd)
FROM fold_customers AS customers
ORDER BY customers.subject_id
