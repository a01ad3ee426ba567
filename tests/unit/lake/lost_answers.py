"""Delta commits whose answer is lost, that never land, or that meet another: put in the place of deltalake's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.table import TableAlterer, TableOptimizer

from pipelines.lake import own

COMMITS = [
    (DeltaTable, "create"),
    (DeltaTable, "create_write_transaction"),
    (TableAlterer, "add_columns"),
    (TableAlterer, "set_table_properties"),
    (TableOptimizer, "compact"),
    (own, "write_deltalake"),
]
"""Every function of deltalake that the project commits with."""
ERRORS = (OSError("the network went away"), DeltaError("no answer"), CommitFailedError("409"), RuntimeError("timeout"))


class Commits:
    """Counts commits; those that `is_hit` says end with an error, before or after they land."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, is_hit: Callable[[int], bool], *, lands: bool, error: Exception
    ) -> None:
        self.made = 0
        self.hits = 0
        for owner, name in COMMITS:
            monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name), is_hit, lands=lands, error=error))

    def _wrap(
        self, commit: Callable[..., Any], is_hit: Callable[[int], bool], *, lands: bool, error: Exception
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.made += 1
            hit = is_hit(self.made)
            self.hits += hit
            if hit and not lands:
                raise error
            answer = commit(*arguments, **options)
            if hit:
                raise error
            return answer

        return call
