"""Which of a lake's folded months are what a fold would write today, so that another may go on from them."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.folds.customers import GOES_ON_FROM
from pipelines.folds.inputs import Inputs
from pipelines.lake.datasets import find_dataset
from pipelines.lake.lake import Lake

RESUMED_FROM = ("snapshots", "conversation_months", "call_months")
"""What a fold of streams goes on from."""


def is_of_one_log(lake: Lake, inputs: Inputs, month: str, names: list[str]) -> bool:
    """Whether the tables hold what this very code made of one state of the log, the one that the snapshots tell of."""
    commits = [lake.last_commit(name, {"month": month}) for name in names]
    logs = {str(commit.provenance.get("log")) if commit else None for commit in commits}
    is_same_code = all(
        commit is not None and commit.provenance.get("code") == inputs.code(name)
        for name, commit in zip(names, commits, strict=True)
    )
    return "snapshots" in names and is_same_code and len(logs) == 1


def customers_go_on(lake: Lake, inputs: Inputs, month: str) -> bool:
    """Whether every earlier month of what customers go on from is current; a person's last month is known from no other."""
    earlier = [each for each in inputs.months if each < month]
    return current_months(lake, inputs, GOES_ON_FROM, earlier) == earlier


def current_months(lake: Lake, inputs: Inputs, names: Sequence[str], months: list[str]) -> list[str]:
    """Those of the months in which all the folds `names` are what a fold would write today."""
    for name in names:
        commits = {commit.partition: commit.input_hash for commit in lake.last_commits(name)} if months else {}
        partition = find_dataset(name).partition_path
        months = [each for each in months if commits.get(partition({"month": each})) == inputs.hash(name, each)]
    return months
