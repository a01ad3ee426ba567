"""Rows of trace stores in which anything may stand anywhere: they are imported, every scalar accounted for, or refused by name."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from tests.support.changed import changed
from tests.support.foreign import lines_of, written
from tests.support.inspect_samples import log, sample
from tests.support.langfuse_rows import a_session, trace
from tests.support.langsmith_runs import a_thread


@pytest.mark.parametrize("form", ["langfuse", "langsmith", "inspect"])
@given(seed=st.integers(0, 10**9), times=st.integers(1, 4))
@example(seed=116_615, times=1)  # a run of LangSmith that began 2 ** 70 milliseconds after 1970
@settings(max_examples=25)
def test_anything_anywhere(form: str, seed: int, times: int) -> None:
    """No other error than one that names the place, and no leaf without a place of its own."""
    rows = {"langfuse": [trace(), *a_session()], "langsmith": a_thread(), "inspect": [sample()]}[form]
    rows = changed(rows, seed, times)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.eval" if form == "inspect" else "a.jsonl")
        if form == "inspect":
            given_sample = rows[0] if rows and isinstance(rows[0], dict) else {}
            log(path, {"id": "lamps", "epoch": 1, **json.loads(json.dumps(given_sample))})
        else:
            written(path, rows)
        tally, refusal = Tally(), "a."
        try:
            _, tally = lines_of(form, [path])
        except BadInputError as error:
            refusal = str(error)
    assert refusal.startswith("a.")
    assert tally.mapped >= 0
    assert tally.mapped + tally.kept + tally.repeated == tally.leaves
