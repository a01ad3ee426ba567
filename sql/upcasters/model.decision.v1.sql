-- purpose: model.decision v1 counts usage as prompt_tokens and completion_tokens; v2 as input_tokens and output_tokens.
--          Every other member, known or not, keeps its name and its value.
-- input: payload, the JSON text of a v1 payload
-- output: one expression, the JSON text of the v2 payload
SELECT
    CASE
        WHEN json_type(payload, '$.usage') = 'OBJECT'
            THEN
                '{"usage":{' || array_to_string(
                    list_transform(
                        json_keys(payload, '$.usage'),
                        LAMBDA counter: to_json(
                            CASE counter
                                WHEN 'prompt_tokens' THEN 'input_tokens'
                                WHEN 'completion_tokens' THEN 'output_tokens'
                                ELSE counter
                            END
                        )::VARCHAR || ':'
                        || json_extract(payload, '/usage/' || replace(replace(counter, '~', '~0'), '/', '~1'))::VARCHAR
                    ),
                    ','
                ) || '}'
                -- the merge patch takes usage out and leaves every other member, null ones too, as it is
                || CASE json_merge_patch(payload, '{"usage":null}')::VARCHAR
                    WHEN '{}' THEN '}'
                    ELSE ',' || substr(json_merge_patch(payload, '{"usage":null}')::VARCHAR, 2)
                END
        ELSE payload
    END
