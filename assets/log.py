"""Assets of the log: a month of the store, exported."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from assets.resources import Home
from assets.specs import describe_asset, key_of
from pipelines.export.month import ExportResult, export_month
from pipelines.lake.memory import peak_bytes


def _describe(home: Home, month: str, result: ExportResult) -> dict[str, Any]:
    """What the month looks like in the lake, up to where it is complete, and what the export cost."""
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
        specs=[describe_asset("events"), describe_asset("stream_months")],
        partitions_def=months,
        description="Bring one month of the store into the lake, from one consistent snapshot.",
    )
    def export(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        result = export_month(home.store().dsn, home.lake, context.partition_key, on_rows=home.on_progress)
        home.publish_catalog()
        common: dict[str, Any] = {
            "input_hash": result.input_hash,
            "is_written": result.is_written,
            "seconds": result.seconds,
        }
        version = dg.DataVersion(result.input_hash)
        events = {"row_count": result.rows, "size_bytes": result.size_bytes, **common}
        events |= {"added_rows": result.added_rows, "late_rows": result.late_rows, "is_sorted": result.is_sorted}
        events |= _describe(home, context.partition_key, result)
        yield dg.MaterializeResult(key_of("events"), metadata=events, data_version=version)
        yield dg.MaterializeResult(
            key_of("stream_months"), metadata={"row_count": result.streams, **common}, data_version=version
        )

    return [export]
