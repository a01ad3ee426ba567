"""The asset of the seals, a closed month's manifest; and the job that opens a month again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.metadata import reported, reported_heads, reported_seal
from assets.partitions import Months, closed_months
from assets.resources import Home
from assets.specs import DATABASE_POOL, describe_asset, key_of

if TYPE_CHECKING:
    from pipelines.export.sealed import SealResult


def build_seal_assets(months: Months) -> list[dg.AssetsDefinition]:
    """`refold/merkle_nodes`: closes a month to writes, exports it whole and keeps what proves it."""

    @dg.multi_asset(
        name="seal",
        specs=[describe_asset("merkle_nodes", deps=["events", "stream_months"])],
        partitions_def=closed_months(months),
        pool=DATABASE_POOL,
        description="Seal one month that has ended: from then on it takes no event.",
    )
    def seal(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        from pipelines.export.seal import seal_month

        month = context.partition_key
        key = home.settings.signing_key
        result = seal_month(home.store(), home.lake, month, signing_key=key, on_rows=home.on_progress)
        home.publish_catalog()
        _report_export(context, result)
        yield dg.MaterializeResult(
            key_of("merkle_nodes"),
            metadata=reported_seal(result),
            data_version=dg.DataVersion(result.manifest_sha256),
        )

    return [seal]


@dg.op(
    config_schema={
        "month": dg.Field(str, description="YYYY-MM; closing or sealed."),
        "reason": dg.Field(str, description="Why; kept in the store for good."),
    },
    description="Open a closing or sealed month again; its manifests stay.",
)
def open_again(context: dg.OpExecutionContext, home: dg.ResourceParam[Home]) -> None:
    """Unseal a month and say which generation it is now."""
    from pipelines.export.seal import unseal_month as open_month
    from pipelines.store.access import require_reason

    month = context.op_config["month"]
    reason = require_reason(context.op_config["reason"], "why is it opened again?")
    generation = open_month(home.store(), month, reason)
    context.add_output_metadata({"month": month, "generation": generation, "reason": reason})


@dg.job(description="Open a closing or sealed month again, with a reason; seal it again with seal_month.")
def unseal_month() -> None:
    """One step. No asset: it makes no data, and the manifests it leaves are still the month's last proof."""
    open_again()


def _report_export(context: dg.AssetExecutionContext, result: "SealResult") -> None:
    """The export that a seal makes is one of `events` and `stream_months`: what follows from them sees it."""
    if result.exported is not None and result.exported.is_written:
        told = {"events": reported(result.exported), "stream_months": reported_heads(result.exported)}
        for name, metadata in told.items():
            context.log_event(dg.AssetMaterialization(key_of(name), partition=result.month, metadata=metadata))
