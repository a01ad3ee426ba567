-- purpose: Hashes of tool calls whose canonical form can be read off their text, as nearly all can: an object without
--          objects or lists in it, of plain ASCII without escapes. The others, whose hashes are null, are Python's.
-- parameters: none
-- grain: one tool call
-- key: stream_no, decision, stream_version
-- notes: Text is its own canonical form (RFC 8785) but for the order of members: numbers of up to 15 digits, with up to 4
--        places and no trailing zero, are spelled as ECMAScript spells them; a quote sorts before any character of a key,
--        so that members sort as their keys do. Normalising changes strings that are not ASCII, are escaped, or begin or
--        end with a blank, and no others: L2 is L1.
WITH split AS (
    SELECT
        asked.stream_no,
        asked.decision,
        asked.stream_version,
        asked.name,
        asked.arguments,
        regexp_extract_all(
            asked.arguments,
            '"[A-Za-z0-9_]+":(?:"[ !#-\[\]-~]*"|true|false|null'
            || '|-?(?:0|[1-9][0-9]{0,10})\.[0-9]{0,3}[1-9]|0|-?[1-9][0-9]{0,14})'
        ) AS members,
        regexp_extract_all(asked.arguments, '"([A-Za-z0-9_]+)":', 1) AS names
    FROM fold_asked AS asked
),

plain AS (
    SELECT
        split.stream_no,
        split.decision,
        split.stream_version,
        split.name,
        split.arguments,
        CASE
            WHEN
                '{' || array_to_string(split.members, ',') || '}' = split.arguments
                AND list_unique(split.names) = len(split.members)
                AND NOT contains(split.arguments, '" ')
                AND NOT contains(split.arguments, ' "')
                AND regexp_full_match(split.name, '[A-Za-z0-9_.:-]+')
                THEN array_to_string(list_sort(split.members), ',')
        END AS canonical
    FROM split
)

SELECT
    plain.stream_no,
    plain.decision,
    plain.stream_version,
    plain.name,
    plain.arguments,
    CASE
        WHEN plain.canonical IS NOT NULL
            THEN sha256('{"name":"' || plain.name || '","raw":"' || replace(plain.arguments, '"', '\"') || '"}')
    END AS l0,
    sha256('{"args":{' || plain.canonical || '},"name":"' || plain.name || '"}') AS l1,
    l1 AS l2
FROM plain;
