"""A regression set: the pairs that people judged, as the lines of an experiment's `units_file`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable

from pipelines.errors import BadInputError
from pipelines.verdicts.verdict import Choice, Verdict


def pinned(standing: Iterable[Verdict], choices: Collection[Choice] = ()) -> list[str]:
    """One JSON line for each judged pair, by unit_id: `{"unit_id": …, "choices": {"worse": 2}}`. Neither names nor reasons.

    Args:
        standing: The verdicts that stand.
        choices: Only pairs of which somebody said one of these; none for all that were judged.

    Raises:
        BadInputError: There is no such pair.
    """
    counts: dict[str, Counter[str]] = {}
    for each in standing:
        counts.setdefault(each.unit_id, Counter())[each.choice] += 1
    found = {unit: said for unit, said in counts.items() if not choices or said.keys() & set(choices)}
    if not found:
        what = f" {' or '.join(choices)}" if choices else ""
        raise BadInputError(f"nobody judged a pair{what} in this version yet; `refold review` puts them before you")
    return [json.dumps({"unit_id": unit, "choices": dict(sorted(found[unit].items()))}) for unit in sorted(found)]
