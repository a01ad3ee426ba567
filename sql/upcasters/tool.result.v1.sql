-- purpose: tool.result v2 adds who ran it, how long, and whether it was denied or cut.
--          A member that is not there says null, so that a v1 payload is a v2 payload.
-- input: payload, the JSON text of a v1 payload
-- output: one expression, the JSON text of the v2 payload
SELECT payload
