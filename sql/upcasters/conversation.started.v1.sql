-- purpose: conversation.started v2 adds the parent, tags, metadata and what the record lacks.
--          A member that is not there says null, so that a v1 payload is a v2 payload.
-- input: payload, the JSON text of a v1 payload
-- output: one expression, the JSON text of the v2 payload
SELECT payload
