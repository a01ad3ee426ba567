-- of: args(calls, tool, path)
-- gives: what stands at a path of the arguments of every call of a tool, in order, as text; null for a call without it
-- after: at_path
CREATE OR REPLACE MACRO args(calls, tool, path) AS [ -- noqa: CP05
    at_path(each.arguments, path) FOR each IN calls IF each.name = tool
]
