"""Which tests are slow, and in what order modules run: the rules, in one place. `pytest -m "not slow"` leaves the slow ones out.

A test is slow where its folder is, where a fixture of it takes long, or where its module was measured to. `@pytest.mark.quick` takes
one out of a slow folder: each package has a real test among the quick ones, which `tests/contracts/test_pace.py` looks after.
"""

from __future__ import annotations

import pytest

SLOW_FOLDERS = ("integration", "assets", "notebooks", "sql", "agents")
"""PostgreSQL, runs of Dagster, browsers, programs that are killed, frameworks in environments of their own."""
SLOW_FIXTURES = {"server", "shared_data"}
"""PostgreSQL, and all the real conversations."""
SLOW_MODULES = (
    "unit/benchmarks/test_benchmarks.py",
    "unit/diff/test_align.py",
    "unit/diff/test_dataset.py",
    "unit/diff/test_decided.py",
    "unit/diff/test_measures.py",
    "unit/diff/test_noise.py",
    "unit/diff/test_rules.py",
    "unit/diff/test_versions.py",
    "unit/erasure/test_versions.py",
    "unit/evidence/test_story.py",
    "unit/evidence/test_verify_bundle.py",
    "unit/fold/test_fold.py",
    "unit/fold/test_lookup.py",
    "unit/folds/test_as_of.py",
    "unit/folds/test_aside.py",
    "unit/folds/test_customers.py",
    "unit/folds/test_fold_faults.py",
    "unit/folds/test_parts.py",
    "unit/folds/test_resume.py",
    "unit/folds/test_sql_equals_reference.py",
    "unit/folds/test_within.py",
    "unit/ingest/assemble/test_conversation.py",
    "unit/ingest/forms/test_otlp.py",
    "unit/ingest/test_growth.py",
    "unit/ingest/test_run_line.py",
    "unit/lake/test_lake.py",
    "unit/lake/test_locked.py",
    "unit/lake/test_lost_answers.py",
    "unit/lake/test_vacuum.py",
    "unit/log/test_readable.py",
    "unit/proof/test_heads.py",
    "unit/proof/test_scan.py",
    "unit/redaction/test_payload.py",
    "unit/refold/test_lake.py",
)
"""Five seconds of processor time and more, as measured, where the package has quicker ones."""


LONGEST = (
    "integration/test_erasing_acceptance.py",
    "assets/test_erase.py",
    "unit/erasure/test_versions.py",
    "unit/fold/test_fold.py",
    "integration/test_memory_bound.py",
    "integration/test_folds_erased.py",
    "integration/test_echo.py",
    "unit/folds/test_within.py",
    "integration/test_folds_crash.py",
    "unit/fold/test_lookup.py",
    "assets/test_forget.py",
    "integration/test_redacting_acceptance.py",
    "integration/test_lines.py",
    "unit/benchmarks/test_benchmarks.py",
    "assets/test_months.py",
    "assets/test_projection_assets.py",
    "unit/folds/test_parts.py",
    "assets/test_runs.py",
    "integration/test_seal.py",
    "assets/test_access.py",
    "unit/folds/test_as_of.py",
    "integration/test_folds_large.py",
)
"""The modules that take longest, as measured, the longest first: begun first, so that at the end none is waited for alone."""


def is_slow(path: str, fixtures: list[str], *, is_marked_quick: bool) -> bool:
    """Whether a test is slow.

    Args:
        path: Its module below `tests`, such as `unit/lake/test_lake.py`.
        fixtures: All its fixtures, those of fixtures too.
        is_marked_quick: Whether it carries the mark `quick`.
    """
    if is_marked_quick:
        return False
    return (
        path.split("/", maxsplit=1)[0] in SLOW_FOLDERS or path in SLOW_MODULES or not SLOW_FIXTURES.isdisjoint(fixtures)
    )


def longest_first(items: list[pytest.Item], tests: str) -> None:
    """Put the modules in the order in which they run: those of `LONGEST`, the other slow ones, the rest."""

    def rank(item: pytest.Item) -> int:
        path = item.path.as_posix().removeprefix(f"{tests}/")
        if path in LONGEST:
            return LONGEST.index(path)
        return len(LONGEST) + (not is_slow(path, [], is_marked_quick=False))

    items.sort(key=rank)


def mark_slow(items: list[pytest.Item], tests: str) -> None:
    """Give the slow ones of these tests the mark `slow`; `tests` is the folder `tests`."""
    for item in items:
        path = item.path.as_posix().removeprefix(f"{tests}/")
        fixtures: list[str] = getattr(item, "fixturenames", [])
        if is_slow(path, fixtures, is_marked_quick=item.get_closest_marker("quick") is not None):
            item.add_marker("slow")
