"""Ask models: each request once, within the budget, at the pace that the endpoint admits, whatever the endpoint answers.

`asker` decides, `endpoint` makes the call, `wire` writes what is sent, `completion`, `message` and `usage` read what comes back,
`fault` and `health` say what no answer means, `responses` keeps what was paid for.
"""
