-- Whether a recorded outcome (JSON text) is good; null when it does not say. The first key that is there decides:
-- success, utility or resolved (booleans), reward (good from 1).
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO outcome_is_good(recorded) AS coalesce( -- noqa: CP05
    try_cast(json_extract_string(recorded, '$.success') AS BOOLEAN),
    try_cast(json_extract_string(recorded, '$.utility') AS BOOLEAN),
    try_cast(json_extract_string(recorded, '$.resolved') AS BOOLEAN),
    try_cast(json_extract_string(recorded, '$.reward') AS DOUBLE) >= 1
)
