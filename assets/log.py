"""Assets of the log: a month of the store, exported."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.by_month import Made, materialize_months
from assets.metadata import reported, reported_heads
from assets.resources import Home
from assets.specs import DATABASE_POOL, NIGHTLY, describe_asset
from pipelines.lake.memory import peak_bytes

if TYPE_CHECKING:
    from pipelines.export.result import ExportResult


def _describe(home: Home, month: str, result: "ExportResult") -> dict[str, Any]:
    """What the month looks like in the lake, up to where it is complete, and what the export cost."""
    import pyarrow.parquet as pq

    files = home.lake.files("events", {"month": month})
    commit = home.lake.last_commit("events", {"month": month})
    known = commit.provenance if commit is not None else {}
    watermark = {"watermark_epoch": known.get("epoch"), "watermark_xid": known.get("xmin")}
    return {
        "rows_per_second": result.added_rows / result.seconds if result.is_written else 0.0,
        "files": len(files),
        "row_groups": sum(pq.read_metadata(file).num_row_groups for file in files),
        "peak_bytes": peak_bytes(),
        **{name: value for name, value in watermark.items() if value is not None},
        **({"last_position": known["last_position"]} if known.get("last_position") is not None else {}),
    }


def build_log_assets(months: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """`refold/events` and `refold/stream_months`: one export writes both."""

    @dg.multi_asset(
        name="export",
        specs=[describe_asset(name, freshness_policy=NIGHTLY) for name in ("events", "stream_months")],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=DATABASE_POOL,
        description="Bring one month of the store into the lake, from one consistent snapshot.",
    )
    def export(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        from pipelines.export.home_log import copy_home_log, finish_erasures
        from pipelines.export.listing import list_files_again
        from pipelines.export.month import export_month

        def make(month: str) -> Iterator[Made]:
            finish_erasures(home.store(), home.lake)
            result = export_month(home.store().dsn, home.lake, month, on_rows=home.on_progress)
            copy_home_log(home.store(), home.lake)
            list_files_again(home.store(), home.lake, month, home.settings.signing_key)
            home.publish_catalog()
            home.remove_redacted(month, ["events", "stream_months"] if result.is_written else [])
            events = reported(result) | _describe(home, month, result)
            yield Made("events", events, result.input_hash)
            yield Made("stream_months", reported_heads(result), result.input_hash)

        yield from materialize_months(context, home, "export", make)

    return [export]
