-- of: called(calls, tool)
-- gives: how many calls there are of a tool
CREATE OR REPLACE MACRO called(calls, tool) AS coalesce(len([each FOR each IN calls IF each.name = tool]), 0) -- noqa: CP05
