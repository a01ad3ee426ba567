"""Put recorded decisions before a new prompt, model or agent, without ever executing a tool.

`experiment` reads the file, `decision` holds what a candidate is given and returns, `candidate` and `source` find out who
answers, `plan` selects and names the version, `units` are the sides, `answer` asks, `run` writes `lake/replays`.
"""
