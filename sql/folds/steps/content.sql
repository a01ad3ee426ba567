-- purpose: What of the content of a user's utterance tells whether it says something, where its text does not: its parts' types,
--          and the first character of texts. The rule is `pipelines.canonical.content.is_input`, which reads this; pictures and
--          what is nested in parts stay behind.
-- parameters: told, a row with payload, an utterance's
-- grain: one expression, for other queries to hold
SELECT
    CASE
        WHEN coalesce(json_extract_string(told.payload, '$.text'), '') <> '' THEN NULL
        WHEN json_type(told.payload, '$.content') = 'VARCHAR'
            THEN to_json(left(json_extract_string(told.payload, '$.content'), 1))::VARCHAR
        WHEN json_type(told.payload, '$.content') = 'ARRAY'
            THEN to_json(
                list_transform(
                    json_extract(told.payload, '$.content[*]'),
                    LAMBDA part: CASE json_type(part)
                        WHEN 'VARCHAR' THEN to_json(left(json_extract_string(part, '$'), 1))
                        WHEN 'OBJECT' THEN json_object('type', json_extract_string(part, '$.type'))
                    END
                )
            )::VARCHAR
    END
