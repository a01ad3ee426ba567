"""Observations as the types of Langfuse's own client read them: the same calls, models, times and sums."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from langfuse.api.commons.types.observation_v2 import ObservationV2
from langfuse.api.core.pydantic_utilities import parse_obj_as
from langfuse.api.observations.types.observations_v2response import ObservationsV2Response

from tests.support.foreign import lines_of, written
from tests.support.formats import samples
from tests.support.langfuse_rows import a_session


def parsed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the pages' JSON, where objects may be text, as the API has it."""
    texts = [
        name
        for name in ("metadata", "modelParameters", "usageDetails", "costDetails")
        if isinstance(row.get(name), str)
    ]
    return {**row, **{name: json.loads(row[name]) for name in texts}}


def holders(observations: list[ObservationV2]) -> set[str]:
    """Ids of all that a generation hangs under: it recorded the same call."""
    parents = {each.id: each.parent_observation_id for each in observations}
    found: set[str] = set()
    for each in observations:
        up = each.parent_observation_id if each.type == "GENERATION" else None
        while up and up not in found:
            found.add(up)
            up = parents.get(up)
    return found


def test_samples_as_the_client_reads_them(shared_data: Path) -> None:
    """Of every trace: calls without those that only hold another, their names, and when they began."""
    traces = [each for each in samples(shared_data, "02-langfuse") if each.name.endswith(".trace.json.gz")]
    assert traces
    for sample in traces:
        rows = json.loads(gzip.decompress(sample.path.read_bytes()))["observations"]
        read = [parse_obj_as(ObservationV2, parsed(row)) for row in rows]
        calls = [each for each in read if each.type == "GENERATION" and each.id not in holders(read)]
        lines, tally = lines_of("langfuse", [sample.path])
        assert tally.model_calls == len(calls), sample.name
        assert tally.models == {each.model for each in calls if each.model}, sample.name
        decided = [each["timestamp"] for line in lines for each in line["messages"] if "decision" in each]
        ends = {each.end_time.strftime("%Y-%m-%dT%H:%M:%S") for each in calls if each.end_time}
        assert {each[:19] for each in decided} <= ends, sample.name


def test_a_page_of_the_api(tmp_path: Path) -> None:
    """What a program saves of the client's answers says what its rows say, and the page's own fields are kept."""
    page: Any = {"data": a_session(), "meta": {"cursor": "the next page"}}
    told = json.loads(parse_obj_as(ObservationsV2Response, page).json())
    (line,), tally = lines_of("langfuse", [written(tmp_path / "page.json", [told])])
    (plain,), _ = lines_of("langfuse", [written(tmp_path / "rows.jsonl", a_session())])
    assert line["messages"] == plain["messages"]
    assert (tally.model_calls, tally.input_tokens, tally.output_tokens) == (2, 30, 8)
    assert "the next page" in json.dumps(line["records"])


@pytest.mark.parametrize("first", [True, False])
def test_two_pages_of_one_trace(first: bool, tmp_path: Path) -> None:
    """In whichever order their files are named."""
    rows = a_session()
    pages = [
        written(tmp_path / f"{n}.json", [{"data": part, "meta": {"page": n}}])
        for n, part in enumerate((rows[:2], rows[2:]))
    ]
    (line,), _ = lines_of("langfuse", pages if first else pages[::-1])
    (plain,), _ = lines_of("langfuse", [written(tmp_path / "rows.jsonl", rows)])
    assert line["messages"] == plain["messages"]
