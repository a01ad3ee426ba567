-- purpose: model.decision v1 counts usage as prompt_tokens and completion_tokens; v2 as input_tokens and output_tokens.
--          Every other member, known or not, keeps its name, its value and its place.
-- input: payload, the JSON text of a v1 payload
-- output: one expression, the JSON text of the v2 payload
SELECT
    CASE
        WHEN json_type(payload, '$.usage') = 'OBJECT' THEN
            '{' || array_to_string(
                list_transform(
                    json_keys(payload),
                    lambda member : to_json(member)::VARCHAR || ':' || CASE
                        WHEN member = 'usage' THEN
                            '{' || array_to_string(
                                list_transform(
                                    json_keys(payload, '$.usage'),
                                    lambda counter : to_json(
                                        CASE counter
                                            WHEN 'prompt_tokens' THEN 'input_tokens'
                                            WHEN 'completion_tokens' THEN 'output_tokens'
                                            ELSE counter
                                        END
                                    )::VARCHAR || ':' || json_extract(
                                        payload, '/usage/' || replace(replace(counter, '~', '~0'), '/', '~1')
                                    )::VARCHAR
                                ),
                                ','
                            ) || '}'
                        ELSE json_extract(payload, '/' || replace(replace(member, '~', '~0'), '/', '~1'))::VARCHAR
                    END
                ),
                ','
            ) || '}'
        ELSE payload
    END
