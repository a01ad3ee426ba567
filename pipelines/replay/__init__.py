"""Put recorded decisions before a new prompt, model or agent, without ever executing a tool.

`sides` are asked anew, `streams` reads the recordings, `rollout` walks them, `cassette` answers tools, `answer` is a callable or the
recording, `asking` a model, `run` writes `lake/replays`.
"""
