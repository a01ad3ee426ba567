"""Compare tool calls with agentevals, run by a Python that has it; not a part of the benchmarks' own environment.

agentevals depends on langchain, so it is never installed here. Reads pairs as JSON lines (`[calls_a, calls_b]`, calls with
`name` and `arguments`) from standard input and prints, as JSON, how many it compared in a second.
"""

from __future__ import annotations

import json
import sys
import time

from agentevals.trajectory.match import create_trajectory_match_evaluator


def message(calls: list[dict[str, str]]) -> list[dict[str, object]]:
    """One agent message as agentevals takes it."""
    listed = [{"function": {"name": call["name"], "arguments": call["arguments"]}} for call in calls]
    return [{"role": "assistant", "content": "", "tool_calls": listed}]


pairs = [[message(side) for side in json.loads(line)] for line in sys.stdin]
evaluate = create_trajectory_match_evaluator(trajectory_match_mode="unordered", tool_args_match_mode="exact")
started = time.perf_counter()
same = sum(bool(evaluate(outputs=b, reference_outputs=a)["score"]) for a, b in pairs)
print(json.dumps({"rate": len(pairs) / (time.perf_counter() - started), "same": same}))
