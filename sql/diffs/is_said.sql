-- Whether a text says something: it has a character that Unicode does not count as white space.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO is_said(said) AS coalesce( -- noqa: CP05
    regexp_matches(
        said, '[^\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]'
    ),
    FALSE
)
