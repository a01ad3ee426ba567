"""The job that forgets what is old; no asset, since it makes no data."""

import dagster as dg

from assets.resources import Home


@dg.op(
    config_schema={
        "older_than_days": dg.Field(int, description="Days since the last event of a conversation or call.")
    },
    description="Erase conversations and calls that ended long ago; those on hold stay.",
)
def erase_older(context: dg.OpExecutionContext, home: dg.ResourceParam[Home]) -> None:
    """Erase, and say what went; its exports and folds are runs of their own."""
    from assets.verbs.erase import retain

    result = retain(home.settings, context.op_config["older_than_days"], tell=context.log.info)
    chosen = result.selection
    if result.failed:
        raise dg.Failure("; ".join(result.failed))
    if chosen is not None:
        context.add_output_metadata(
            {
                "events": chosen.events,
                "streams": chosen.streams,
                "held": chosen.held,
                "months": ", ".join(chosen.months),
                "erasure": result.erasure or "",
            }
        )


@dg.job(description="Erase conversations and calls that ended long ago. What is erased does not come back.")
def retention() -> None:
    """One step. `refold erase --older-than DAYS` does the same."""
    erase_older()
