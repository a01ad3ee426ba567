"""Specification, docs and view headers say the same."""

from __future__ import annotations

from pathlib import Path

from pipelines.cli.entry import app
from pipelines.cli.reference import render_reference
from pipelines.lake.datasets import DATASETS
from pipelines.lake.document import render_markdown
from pipelines.lake.views import list_views

ROOT = Path(__file__).resolve().parents[2]


def test_the_docs_are_those_of_the_specification():
    """`docs/datasets.md` is what the specification renders; `python -m pipelines.lake.document` writes it."""
    assert (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8") == render_markdown()


def test_descriptions_are_one_line_and_end_in_a_stop():
    """Every column says in one line what it means; every grain says what one row is."""
    for dataset in DATASETS.values():
        assert dataset.grain
        assert set(dataset.key) <= set(dataset.column_names)
        assert set(dataset.sort_by) <= set(dataset.column_names)
        for column in dataset.columns:
            assert column.description.endswith((".", "…")), (dataset.name, column.name)
            assert "\n" not in column.description


def test_a_newest_view_exists_for_every_dataset_that_promises_one():
    """A dataset whose plain name is a view has that view."""
    promised = {dataset.name for dataset in DATASETS.values() if dataset.has_newest_view}
    assert promised <= {view.name for view in list_views()}


def test_the_page_of_verbs_is_that_of_the_verbs():
    """`docs/cli.md` is what the verbs say of themselves; `python -m pipelines.cli.reference` writes it."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == render_reference(app)
