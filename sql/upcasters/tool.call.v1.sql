-- purpose: tool.call v2 adds who runs it.
--          A member that is not there says null, so that a v1 payload is a v2 payload.
-- input: payload, the JSON text of a v1 payload
-- output: one expression, the JSON text of the v2 payload
SELECT payload
