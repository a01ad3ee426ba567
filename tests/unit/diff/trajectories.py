"""Random pairs of trajectories for comparing matchers: the same seed gives the same pairs. Imports nothing of the project.

    python tests/unit/diff/trajectories.py > tests/unit/diff/cases/agentevals_0_0_9.txt

run by a Python that has agentevals 0.0.9, writes what it says: one line per pair, 1 or 0 for each of `MODES`.
"""

from __future__ import annotations

import json
from random import Random

MODES = ("strict", "unordered", "superset", "subset")
COUNT = 5_000

Message = list[tuple[str, str]]
"""Tool calls of one agent message: name and arguments, JSON text."""


def pairs() -> list[tuple[list[Message], list[Message]]]:
    """Pairs (recorded, candidate): unrelated ones, copies with keys and calls in another order, and copies changed a little."""
    random = Random(20260901)
    return [_pair(random) for _ in range(COUNT)]


def _pair(random: Random) -> tuple[list[Message], list[Message]]:
    reference = [[_call(random) for _ in range(random.randrange(1, 4))] for _ in range(random.randrange(1, 4))]
    if random.random() < 0.2:
        return reference, [
            [_call(random) for _ in range(random.randrange(1, 3))] for _ in range(random.randrange(1, 3))
        ]
    output = [[(name, _rewritten(text, random)) for name, text in message] for message in reference]
    for _ in range(random.randrange(3)):
        message = random.choice(output)
        change = random.randrange(5)
        if change == 0:
            message.append(_call(random))
        elif change == 1 and len(message) > 1:
            message.pop(random.randrange(len(message)))
        elif change == 2:
            message[random.randrange(len(message))] = _call(random)
        elif change == 3:
            random.shuffle(message)
        else:
            random.shuffle(output)
    return reference, output


def _call(random: Random) -> tuple[str, str]:
    keys = random.sample("abc", random.randrange(3))
    values = (1, 2, 2.5, "x", "1", None, [1, 2], {"deep": "y"})  # no booleans: agentevals takes True for 1
    return random.choice("fg"), json.dumps({key: random.choice(values) for key in keys})


def _rewritten(text: str, random: Random) -> str:
    value = json.loads(text)
    return json.dumps(dict(random.sample(list(value.items()), len(value))), indent=random.choice((None, 1)))


def _told() -> None:
    from agentevals.trajectory.match import create_trajectory_match_evaluator  # noqa: PLC0415

    judges = [
        create_trajectory_match_evaluator(trajectory_match_mode=mode, tool_args_match_mode="exact") for mode in MODES
    ]

    def messages(trajectory: list[Message]) -> list[dict[str, object]]:
        return [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": name, "arguments": text}} for name, text in message],
            }
            for message in trajectory
        ]

    for reference, output in pairs():
        a, b = messages(reference), messages(output)
        print("".join(str(int(bool(judge(outputs=b, reference_outputs=a)["score"]))) for judge in judges))


if __name__ == "__main__":
    _told()
