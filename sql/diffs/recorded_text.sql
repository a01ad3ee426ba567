-- JSON text of a tool call's arguments as they were recorded or given: equality at L0, and every hash, is over it.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO recorded_text(call) AS coalesce( -- noqa: CP05
    struct_extract(call, 'recorded'),
    struct_extract(call, 'arguments')
)
