-- purpose: model.decision v3 adds the model asked for, the provider, kinds of tokens, errors and how the context was put together.
--          A member that is not there says null, so that a v2 payload is a v3 payload.
-- input: payload, the JSON text of a v2 payload
-- output: one expression, the JSON text of the v3 payload
SELECT payload
