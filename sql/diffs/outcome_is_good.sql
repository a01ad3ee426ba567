-- Whether a recorded outcome (JSON text) is good; null when it does not say. The first key that is there decides:
-- success, utility or resolved (booleans), reward (good from 1).
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO outcome_is_good(outcome) AS coalesce(
    try_cast(json_extract_string(outcome, '$.success') AS BOOLEAN),
    try_cast(json_extract_string(outcome, '$.utility') AS BOOLEAN),
    try_cast(json_extract_string(outcome, '$.resolved') AS BOOLEAN),
    try_cast(json_extract_string(outcome, '$.reward') AS DOUBLE) >= 1
)
