"""Clusters coarser than the conversation: the statistics of a version against the estimator on clusters made by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.stats.cluster import estimate_paired
from pipelines.stats.sums import PairedSums
from tests.support.replayed_lake import EXPERIMENT, replayed_lake, stream_id

STREAMS = 30


def expected_cluster(kind: str, stream: int) -> str:
    """What the made streams belong to; one without an agent is a cluster of its own."""
    if kind == "customer":
        return hashlib.sha256(f"person {stream % 5}".encode()).hexdigest()
    if kind == "agent":
        return stream_id(stream) if stream % 7 == 0 else f"agent {stream % 3}"
    return stream_id(stream)


@pytest.mark.parametrize("kind", ["conversation", "customer", "agent"])
def test_a_cluster_is_one_observation(tmp_path: Path, kind: str):
    """Standard errors treat what is named as one observation; a customer's name stays out of the results."""
    random = Random(3)
    units = [
        {
            "stream": stream,
            "text_a": None,
            "text_b": None,
            "calls_a": [("look", "{}")] * random.randrange(3),
            "calls_b": [("look", "{}")] * random.randrange(3),
        }
        for stream in range(STREAMS)
        for _ in range(random.randrange(1, 4))
    ]
    lake, plan = replayed_lake(tmp_path, units, f"{EXPERIMENT}cluster: {kind}\n")
    build_diff(lake, plan)
    clusters = [expected_cluster(kind, unit["stream"]) for unit in units]
    a, b = ([len(unit[f"calls_{side}"]) for unit in units] for side in "ab")
    wanted = estimate_paired(PairedSums.from_units(clusters, a, b))
    with lake.connect() as connection:
        query = "SELECT g, se, low, high FROM ab_summary WHERE metric = 'calls' AND segment = 'all'"
        g, *numbers = connection.sql(query).fetchall()[0]
        named = connection.sql("SELECT DISTINCT cluster FROM ab_units ORDER BY 1").fetchall()
    assert g == wanted.g == len(set(clusters))
    assert numbers == pytest.approx([wanted.se, wanted.low, wanted.high])
    assert [name for (name,) in named] == sorted(set(clusters))
