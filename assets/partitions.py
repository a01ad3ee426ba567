"""Partitions: UTC months for the log and its folds, names for experiments.

Dagster fixes a month range when the definitions load, while imports bring history from any year. So the first month is
remembered in a file of the home: it starts at the first month that is materialised and only ever moves back, and the
UI lists the months that there are instead of decades of missing ones. `REFOLD_FIRST_MONTH` wins over the file.

A month that is far from any that agents talked in, a year with two digits mostly, would make the UI list every month between;
Dagster 1.13 cannot even name those before the year 1000. It is remote: run like any other, as a partition by itself, and remembered nowhere.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

import dagster as dg

from assets.internals import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG
from pipelines.errors import BadInputError
from pipelines.settings import Settings

MONTH_FORMAT = "%Y-%m"
DEFAULT_FIRST_MONTH = "2025-01"
"""Where the months of a home begin that has never materialised one."""
_EARLIEST = "1900-01"
_YEARS_AHEAD = 100
"""Months before the one, or further ahead than the other, are remote."""
Months = dg.MonthlyPartitionsDefinition | dg.StaticPartitionsDefinition
"""The months of the log: all that there are, or a remote one."""
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")

MONTHS_FAILED = "failed_months"
"""Metadata of a check that did not hold: what was found by month, where it says that of single ones."""

EXPERIMENTS = dg.DynamicPartitionsDefinition(name="experiments")
"""One partition per experiment: its name. Versions are rows of the tables, not partitions here."""


def build_months(first_month: str, last_month: str | None = None) -> dg.MonthlyPartitionsDefinition:
    """UTC months from `first_month` (YYYY-MM) to the month that is running now, or to `last_month` if that is later."""
    now = datetime.now(UTC)
    ahead = _number(last_month) - (now.year * 12 + now.month) if last_month else 0
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt=MONTH_FORMAT, end_offset=1 + max(0, ahead))


def months_with(settings: Settings, months: Sequence[str]) -> Months:
    """The months of the home, reaching to those given: history goes back, a clock may run ahead. A remote month is alone."""
    if not months:
        return build_months(find_first_month(settings))
    if is_remote(months[0]):
        return dg.StaticPartitionsDefinition(list(months))
    remember_month(settings, min(months))
    return build_months(min(*months, find_first_month(settings)), last_month=max(months))


def tags_of(partitions: Sequence[str]) -> dict[str, str]:
    """What a run of these partitions is tagged with: one, or the first and the last of a range of months."""
    if len(partitions) > 1:
        return {ASSET_PARTITION_RANGE_START_TAG: min(partitions), ASSET_PARTITION_RANGE_END_TAG: max(partitions)}
    return dict.fromkeys([PARTITION_NAME_TAG], partitions[0]) if partitions else {}


def partitions_of(tags: Mapping[str, str]) -> list[str] | None:
    """The partitions of a run that is tagged so; None for one that has none, as of a check by itself."""
    first, last = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if first is not None and last is not None:
        return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(_number(first) - 1, _number(last))]
    return [tags[PARTITION_NAME_TAG]] if PARTITION_NAME_TAG in tags else None


def in_a_row(months: Sequence[str]) -> Iterator[list[str]]:
    """The months as lists of such as follow on each other, in order: what one run can hold. A remote month is alone."""
    row: list[str] = []
    for month in sorted(set(months)):
        if row and (is_remote(month) or is_remote(row[-1]) or _number(month) != _number(row[-1]) + 1):
            yield row
            row = []
        row.append(month)
    if row:
        yield row


def is_remote(month: str) -> bool:
    """Whether a month is too far from the others to be listed with them."""
    return not _EARLIEST <= month <= f"{datetime.now(UTC).year + _YEARS_AHEAD:04d}-12"


def closed_months(months: Months) -> Months:
    """The months of `months` without the last one, which is still running."""
    if isinstance(months, dg.StaticPartitionsDefinition):
        return months
    return dg.MonthlyPartitionsDefinition(start_date=months.start, fmt=months.fmt, end_offset=months.end_offset - 1)


def is_month(text: str | None) -> TypeGuard[str]:
    """Whether `text` is a UTC month as a partition key writes it."""
    return text is not None and _MONTH.fullmatch(text) is not None


def find_first_month(settings: Settings) -> str:
    """The first month of a home, YYYY-MM: as set, else as remembered, else `DEFAULT_FIRST_MONTH`; never a remote one."""
    return max(settings.first_month or _remembered(settings) or DEFAULT_FIRST_MONTH, _EARLIEST)


def remember_month(settings: Settings, month: str) -> None:
    """Let the months of the home begin no later than `month`; a UI that is up shows it after a reload.

    Raises:
        BadInputError: `month` is not a month.
    """
    if not is_month(month):
        raise BadInputError(f"{month!r} is not a month; write YYYY-MM, for example 2026-01")
    remembered = _remembered(settings)
    if remembered is None or month < remembered:
        path = _path(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.write_text(f"{month}\n", encoding="utf-8")
        temporary.replace(path)


def _remembered(settings: Settings) -> str | None:
    try:
        month = _path(settings).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return month if is_month(month) else None


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])


def _path(settings: Settings) -> Path:
    return settings.home / "dagster" / "first_month"
