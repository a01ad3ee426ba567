"""A step that works over months: one, or several in a row as one run. Each is a materialisation of its own in the page.

Of a range Dagster notes the materialisations when the step has ended. When a month fails, those before it are noted first, so that
the page knows what the lake holds; the error goes on as it is, after the month was named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

import dagster as dg

from assets.partitions import MONTHS_FAILED
from assets.resources import Home
from assets.specs import key_of, show_lineage


@dataclass(frozen=True, slots=True)
class Made:
    """One dataset's month.

    Attributes:
        name: The dataset.
        metadata: Counts, bytes, hashes and seconds.
        version: What it was made from; the asset's data version.
    """

    name: str
    metadata: Mapping[str, Any]
    version: str

    def shown(self) -> dict[str, Any]:
        """The metadata, with the rows and, of a month that was written, where columns come from, under the names that Dagster's page knows."""
        rows = self.metadata.get("row_count")
        counted = {"dagster/partition_row_count": rows} if rows is not None else {}
        return {**self.metadata, **counted, **(show_lineage(self.name) if self.metadata.get("is_written") else {})}


def materialize_months(
    context: dg.AssetExecutionContext, home: Home, what: str, make: Callable[[str], Iterable[Made]]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Make the months of a run, oldest first; what they came to, dataset by dataset.

    Args:
        context: Of the step.
        home: Told which month is at work, where there are several.
        what: What is done with a month: `fold`.
        make: Makes one month.

    Raises:
        Exception: What `make` raised; the months before it are noted.
    """
    done = MonthsMade(context, home, what)
    for month in done:
        done.add(month, make(month))
    yield from done.results()


@dataclass(slots=True)
class MonthsMade:
    """The months of a run; iterated, each is told as it begins."""

    context: dg.AssetExecutionContext
    home: Home
    what: str
    made: dict[str, list[Made]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        months = self.context.partition_keys
        for month in months:
            if len(months) > 1 and self.home.tell is not None:
                self.home.tell(f"{month} {self.what}")
            yield month

    def add(self, month: str, made: Iterable[Made]) -> None:
        """Take what a month came to; an error in making it notes the months before."""
        try:
            self.made[month] = list(made)
        except BaseException:
            if len(self.context.partition_keys) > 1:
                self.note()
                told = f"{month}: {self.what} failed; of this run, done before it: {', '.join(self.made) or 'no month'}"
                self.context.log.error(told)  # noqa: TRY400 - the step notes the exception itself
                if self.home.tell is not None:
                    self.home.tell(told)
            raise

    def note(self) -> None:
        """Note the months done so far, each as a materialisation, without ending the step."""
        for month, datasets in self.made.items():
            for each in datasets:
                event = dg.AssetMaterialization(key_of(each.name), partition=month, metadata=each.shown())
                self.context.log_event(event)

    def results(self) -> Iterator[dg.MaterializeResult[Any]]:
        """The step's results: of one month as it is, of several with what each came to."""
        if len(self.context.partition_keys) == 1:
            for each in chain.from_iterable(self.made.values()):
                yield dg.MaterializeResult(
                    key_of(each.name), metadata=each.shown(), data_version=dg.DataVersion(each.version)
                )
            return
        versions: dict[str, list[str]] = {}
        for month, datasets in self.made.items():
            for each in datasets:
                key = key_of(each.name)
                self.context.add_asset_metadata(each.shown(), asset_key=key, partition_key=month)
                versions.setdefault(each.name, []).append(f"{month} {each.version}")
        for name, parts in versions.items():
            version = sha256("\n".join(parts).encode()).hexdigest()
            yield dg.MaterializeResult(key_of(name), data_version=dg.DataVersion(version))


def failed_months(found: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a check that does not hold for some months: what was found of each; of none, nothing."""
    return {MONTHS_FAILED: dg.MetadataValue.json(dict(found))} if found else {}
