"""The job that keeps the lake small: no asset, since it makes no data, only room."""

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
