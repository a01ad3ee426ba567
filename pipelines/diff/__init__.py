"""What differs between two agents, as a version of a dataset: units, pairs of tool calls, summary, gate.

How one pair differs is told in `pair`; here are the lake's rows of many. The diff measures change; it never calls a change good
or bad.
"""
