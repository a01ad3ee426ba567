-- purpose: Where every voice call that the month touches stands at the end of the month.
-- parameters: none; the steps hold the month
-- grain: one voice call with an event in the month
-- key: aggregate_id
-- steps: call_months
-- batch: streams
SELECT * FROM fold_call_months
