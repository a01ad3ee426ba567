-- Whether nothing can be odd about arguments (JSON text or a raw string): a flat object of plain values without
-- repeated keys. What DuckDB's reader forgives and JSON does not (trailing commas, NaN) is not plain.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO is_plain_object(recorded) AS coalesce( -- noqa: CP05
    CASE
        WHEN recorded[1] <> '{' OR position('{' IN substring(recorded, 2)) > 0 OR NOT json_valid(recorded) THEN FALSE
        WHEN regexp_matches(recorded, '[0-9][eE]|[0-9]{16}|\\u[dD]|,\s*[}\]]|\[[^\]]*\[|(?i:[:\[,]\s*[+-]?(nan|inf))')
            THEN FALSE
        ELSE len(json_keys(recorded)) = len(list_distinct(json_keys(recorded)))
    END,
    FALSE
)
