-- purpose: Where every conversation that the month touches stands at the end of the month.
-- parameters: none; the steps hold the month
-- grain: one conversation with an event in the month
-- key: aggregate_id
-- steps: conversation_months
-- batch: streams
SELECT * FROM fold_conversation_months
