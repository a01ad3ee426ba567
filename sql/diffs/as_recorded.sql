-- A tool call's arguments as the model sent them: the content of a JSON string, any other text as it is. DuckDB's reader
-- refuses lone surrogates, which Python's does not: such a string stays as written, and is settled in Python.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO as_recorded(arguments) AS coalesce( -- noqa: CP05
    CASE WHEN arguments[1] = '"' AND json_valid(arguments) THEN arguments ->> '$' END,
    arguments
)
