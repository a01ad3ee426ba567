-- Whether a text says, in English, that the agent cannot or will not do what it was asked. A pattern, not a judgement: a
-- refusal may be right.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO is_refusal(said) AS regexp_matches( -- noqa: CP05
    said,
    '(?i)\bI\s*(\x{27}|\x{2019})m\s+(\w+ly\s+)?(unable|not able)\b|\bI\s+am\s+(\w+ly\s+)?(unable|not able)\b'
    || '|\bI\s+(can\s?not|can(\x{27}|\x{2019})t|won(\x{27}|\x{2019})t|will not|must decline)\b'
)
