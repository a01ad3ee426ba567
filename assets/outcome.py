"""What a run came to, as verbs tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one asset, as it came out in a run.

    Attributes:
        asset: The dataset checked.
        name: The check.
        passed: Whether it held.
        severity: `ERROR` or `WARN`; says what it means not to pass.
        description: What was found, in one line.
        months: What was found of each month for which it did not hold, where it says that of single ones.
    """

    asset: str
    name: str
    passed: bool
    severity: str
    description: str
    months: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Attributes:
        run_id: Dagster's id of the run.
        success: Whether every step ended well and no blocking check failed.
        partitions: Counts, bytes, hashes and seconds by partition and dataset, for those that were materialised.
        checks: The checks that ran.
        error: What stopped it: the library's own exception, or None.
    """

    run_id: str
    success: bool
    partitions: dict[str, dict[str, dict[str, Any]]]
    checks: list[CheckResult]
    error: Exception | None

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """By dataset; of a run of several partitions, the last one's."""
        return {name: values for tables in self.partitions.values() for name, values in tables.items()}

    def require(self) -> Self:
        """This result, if it is a success; else its error is raised, as the library raised it."""
        if self.error is not None:
            raise self.error
        return self
