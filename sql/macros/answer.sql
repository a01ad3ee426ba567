-- of: answer(calls, tool, path)
-- gives: what stands at a path of the answer to the first call of a tool, as text; null without a call or a value
-- after: answers
CREATE OR REPLACE MACRO answer(calls, tool, path) AS answers(calls, tool, path)[1] -- noqa: CP05
