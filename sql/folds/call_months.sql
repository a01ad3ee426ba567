-- purpose: Where every voice call that the month touches stands at the end of the month.
-- parameters: none; the steps hold the month
-- grain: one voice call with an event in the month
-- key: aggregate_id
-- steps: streams, events, sources, places, calls, messages, states
-- batch: streams
SELECT states.*
FROM stream_states('call') AS states
ORDER BY states.aggregate_id
