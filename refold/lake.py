"""`refold.Lake`: what is in a home's lake as Polars frames, SQL results, states and versions. Reads only.

The work is done by the modules of `pipelines` that the command line calls; here are only the names and types that stay.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.diff.versions import Version, list_versions, pick_version
from pipelines.errors import BadInputError
from pipelines.folds.state import state as fold_state
from pipelines.lake import lake as tables
from pipelines.lake.catalog import describe
from pipelines.lake.dataset import Dataset
from pipelines.lake.query import query_result
from pipelines.lake.views import list_views
from pipelines.settings import Settings

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class Lake:
    """The lake of one home, read-only. Cheap to open; every call sees what is committed when it is made.

    Open one with `Lake.open`. Nothing is kept open between calls, and one lake may be used from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None, *, lake: str | os.PathLike[str] | None = None) -> Lake:
        """The lake of a home.

        Args:
            home: The home; by default `REFOLD_HOME`, else `./.refold`. `REFOLD_LAKE` counts only when it is left out.
            lake: Folder of the Delta tables, where that is not `lake/` in the home.

        Raises:
            BadInputError: There is no lake, or a setting cannot be read.
        """
        env = dict(os.environ)
        if home is not None:
            env["REFOLD_HOME"] = os.fspath(home)
            env.pop("REFOLD_LAKE", None)
        if lake is not None:
            env["REFOLD_LAKE"] = os.fspath(lake)
        settings = Settings.from_env(env)
        if not settings.lake.is_dir():
            raise BadInputError(
                f"there is no lake in {settings.lake} (the home is {settings.home}); give its home to Lake.open, or fill it: "
                "`refold demo`, or `refold import`, `refold export`, `refold fold`"
            )
        return cls(settings)

    def __repr__(self) -> str:
        return f"Lake({str(self._settings.lake)!r})"

    def scan(
        self,
        table: str,
        *,
        month: str | Iterable[str] | None = None,
        experiment: str | Iterable[str] | None = None,
        version_id: str | Iterable[str] | None = None,
    ) -> pl.LazyFrame:
        """The rows of a table, read when they are collected, and then only from the files that are asked for.

        Files are chosen by the partitions named here, and by conditions on `month`, `experiment` and `version_id` in the
        query that is made of the frame. The files are those that were current at the call: collect it soon, as a redaction
        removes the files that it replaces at once.

        Args:
            table: A table by its name in SQL, all rows of it: `events`, `utterances`, `tool_calls_history`, `ab_units_history`,
                a projection of your own. `ab_units`, `ab_tool_calls`, `ab_summary`, `replays` and `replay_steps` are those of
                the newest complete version of each experiment, or of the versions named. Other views are for `sql`.
            month: Only these months, YYYY-MM; one that the table does not have gives no rows.
            experiment: Only complete versions of these experiments.
            version_id: Only these versions; ids may be shortened as in `refold diffs`. Two experiments may have one of the same
                id: name the experiment, too.

        Returns:
            The table's columns, in order; rows in no order that is promised.

        Raises:
            BadInputError: There is no such table, it has no such partition column, or there is no such version.
        """
        lake = self._lake()
        dataset, is_newest = _find(lake, table)
        months, experiments, versions = map(_listed, (month, experiment, version_id))
        for name, given in (("month", months), ("experiment", experiments), ("version_id", versions)):
            if given is not None and name not in dataset.partition_by:
                by = " and ".join(dataset.partition_by)
                raise BadInputError(
                    f"{table} is not partitioned by {name}{f', but by {by}' if by else ''}; filter the frame by other columns"
                )
        partitions = lake.partitions(dataset.name)
        if months is not None:
            wrong = next((each for each in months if not _MONTH.fullmatch(each)), None)
            if wrong is not None:
                raise BadInputError(f"month is {wrong!r}; write YYYY-MM, such as 2026-05")
            partitions = [each for each in partitions if each["month"] in months]
        if experiments is not None:
            partitions = [each for each in partitions if each["experiment"] in experiments]
        if experiments is not None or versions is not None or is_newest:
            asked: list[str | None] = [*experiments] if experiments is not None else [None]
            known = [version for each in asked for version in list_versions(lake, each)]
            if versions is not None:
                known = [pick_version(known, each) for each in versions]
            elif is_newest:
                known = list({version.experiment: version for version in reversed(known)}.values())
            partitions = [each for each in partitions if each in [version.partition for version in known]]
        return _frame(lake, dataset, partitions)

    def sql(self, query: str, params: Mapping[str, Any] | Sequence[Any] | None = None) -> pl.DataFrame:
        """The rows of one SELECT over the lake's tables and views, as `refold sql` has them.

        Args:
            query: One SELECT in DuckDB's SQL; `refold sql --tables` lists what there is.
            params: Values for `$name`, or for `?` in order. Always bind what is not yours.

        Raises:
            BadInputError: It is not one SELECT, or it fails.
        """
        frame = pl.from_arrow(self.sql_arrow(query, params))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def sql_arrow(self, query: str, params: Mapping[str, Any] | Sequence[Any] | None = None) -> pa.Table:
        """The same as an Arrow table."""
        return query_result(self._lake(), query, params)

    def state(
        self,
        stream: str,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """The state of one stream, now or as it was.

        Args:
            stream: A stream's id, or `source/conversation_id`.
            version: Only events up to this stream version.
            position: Only events up to this position of the store.
            at: Only events up to this time; naive is UTC.

        Returns:
            The columns of `conversation_months` without the month, and `aggregate_type`.

        Raises:
            BadInputError: There is no such stream, or it had no event yet.
        """
        return fold_state(self._lake(), stream, version=version, position=position, at=at)

    def versions(self, experiment: str | None = None) -> list[Version]:
        """The complete versions of an experiment, or of all, newest first.

        Raises:
            BadInputError: The experiment has none.
        """
        return list_versions(self._lake(), experiment)

    def _lake(self) -> tables.Lake:
        return tables.Lake.from_settings(self._settings)


def _find(lake: tables.Lake, table: str) -> tuple[Dataset, bool]:
    """The dataset that a name in SQL is, and whether only newest versions of it are meant."""
    datasets = lake.datasets()
    relations = {dataset.relation: dataset for dataset in datasets.values()}
    if table in relations:
        return relations[table], False
    view = next((view for view in list_views() if view.name == table), None)
    dataset = datasets.get(table)
    is_computed = view is not None and view.columns != view.dataset.columns
    if dataset is not None and "version_id" in dataset.partition_by and not is_computed:
        return dataset, True
    if table in describe(lake):
        of = "events" if view is None or view.dataset.name not in datasets else view.dataset.relation
        raise BadInputError(
            f"{table} is a view: what it shows is computed; use sql('FROM {table}'), or scan {of}, of which it is made"
        )
    raise BadInputError(f"there is no table {table!r}; there are {', '.join(sorted(relations))}")


def _listed(values: str | Iterable[str] | None) -> list[str] | None:
    return values if values is None else [values] if isinstance(values, str) else list(values)


def _frame(lake: tables.Lake, dataset: Dataset, partitions: Sequence[Mapping[str, str]]) -> pl.LazyFrame:
    """The rows of some of a dataset's partitions; of a table without partitions all."""
    schema = pl.Schema(pl.DataFrame(pl.from_arrow(dataset.arrow_schema().empty_table())).schema)
    paths = {dataset.partition_path(partition) for partition in partitions} or {""}
    root = f"{lake.table(dataset.name).path}/"
    files = [file for file in lake.files(dataset.name) if file.removeprefix(root).rpartition("/")[0] in paths]
    if not files:
        return pl.LazyFrame(schema=schema)
    hive = dict.fromkeys(dataset.partition_by, pl.String)
    return pl.scan_parquet(
        files,
        schema={name: kind for name, kind in schema.items() if name not in hive},
        glob=False,
        hive_partitioning=bool(hive),
        hive_schema=hive or None,
        missing_columns="insert",  # files of before a column was added
        extra_columns="ignore",
    ).select(dataset.column_names)
