"""Ask models: each request once, within the budget, at the pace that the endpoint admits, whatever the endpoint answers.

`asker` decides, `endpoint` makes the call, `usage` reads what it counts, `fault` and `health` say what no answer means,
`responses` keeps what was paid for. How a request is written and an answer is read is a wire's matter (`replay/wires`).
"""
