"""The jobs that take away: files that nobody needs, and what is old. No assets, since they make no data, only room."""

import dagster as dg

from assets.resources import Home


@dg.op(description="Remove the lake's files that nobody needs any more; superseded ones after the grace.")
def remove_leftovers(context: dg.OpExecutionContext, home: dg.ResourceParam[Home]) -> None:
    """Vacuum the lake and say what went."""
    result = home.vacuum()
    context.add_output_metadata(
        {
            "files": result.files,
            "size_bytes": result.size_bytes,
            "kept_files": result.kept_files,
            "kept_bytes": result.kept_bytes,
            "grace_days": result.grace_days,
            "seconds": result.seconds,
        }
    )


@dg.job(description="Remove the lake's files that nobody needs any more.")
def vacuum() -> None:
    """One step, whenever."""
    remove_leftovers()


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
