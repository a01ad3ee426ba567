"""Whoever removes or cuts what a comparison wrote names every table that it wrote to."""

from __future__ import annotations

from pipelines.diff import prune
from pipelines.erasure import tables
from pipelines.lake.datasets import DATASETS


def test_tables_of_a_version_are_known_where_they_are_removed_and_cut():
    """Pruning and erasing; a table more, partitioned by version, is to be named in both."""
    written = {name for name, dataset in DATASETS.items() if "version_id" in dataset.partition_by}
    assert {dataset.name for dataset in tables.TABLES} == written
    assert {dataset.name for dataset in (prune.AB_SUMMARY, *prune._REST)} == written
