-- of: arg(calls, tool, path)
-- gives: what stands at a path of the arguments of the first call of a tool, as text; null without a call or a value
-- after: args
CREATE OR REPLACE MACRO arg(calls, tool, path) AS args(calls, tool, path)[1] -- noqa: CP05
