-- purpose: Whether a user's utterance opens a turn: it has text, or a part that is something else, such as a picture or sound;
--          what a redaction left in the place of one counts, so that turns keep their numbers. The rule in Python is
--          `pipelines.canonical.content.is_input`.
-- parameters: told, a row with payload, an utterance's
-- grain: one expression, for other queries to hold
SELECT
    CASE
        WHEN coalesce(json_extract_string(told.payload, '$.text'), '') <> '' THEN TRUE
        WHEN json_type(told.payload, '$.content') = 'VARCHAR' THEN json_extract_string(told.payload, '$.content') <> ''
        ELSE len(
            list_filter(
                json_extract(told.payload, '$.content[*]'),
                LAMBDA part: CASE json_type(part)
                    WHEN 'VARCHAR' THEN part <> '""'
                    WHEN 'OBJECT'
                        THEN coalesce(
                            json_extract_string(part, '$.type')
                            NOT IN ('text', 'input_text', 'output_text', 'refusal'),
                            FALSE
                        )
                    ELSE FALSE
                END
            )
        ) > 0
    END
