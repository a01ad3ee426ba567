"""Put recorded decisions before a new prompt, model or agent, without ever executing a tool.

`decision` holds what a candidate is given and returns, `context` rebuilds what the agent saw, `candidate` finds out
who answers, `plan` selects the units, `run` writes `lake/replays`.
"""
