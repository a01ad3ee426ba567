-- Whether the context of a recorded decision was put together from a trace in another way than by finding its history whole, and is
-- not known to be what the model was sent.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO is_rebuilt(history, context_verified) AS coalesce( -- noqa: CP05
    history IN ('rendered', 'delta', 'compacted') AND context_verified IS DISTINCT FROM TRUE, FALSE
)
