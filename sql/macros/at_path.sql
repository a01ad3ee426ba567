-- of: at_path(json, path)
-- gives: what stands at a path of a JSON text, or of the JSON that its string holds, as text; null where there is nothing
CREATE OR REPLACE MACRO at_path(json, path) AS CASE -- noqa: CP05
    WHEN NOT json_valid(json) THEN NULL
    WHEN json_type(json) <> 'VARCHAR' THEN json_extract_string(json, path)
    WHEN json_valid(json ->> '$') THEN json_extract_string(json ->> '$', path)
END
