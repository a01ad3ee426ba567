"""The jobs that are no assets, since they make no data of the lake: files of others come in, and what nobody needs or is old goes."""

import dagster as dg

from assets.resources import Home
from pipelines.errors import BadInputError


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


@dg.op(
    description="Import the files of REFOLD_FOLLOW that are new or have grown; one that is refused holds up no other."
)
def import_followed(context: dg.OpExecutionContext, home: dg.ResourceParam[Home]) -> None:
    """Make a pass over each folder, and say what came in and what was refused."""
    from pipelines.ingest.follow.passing import Followed, Pass, follow
    from pipelines.ingest.reading.room import Room
    from pipelines.lake.memory import resident_bytes

    settings = home.settings
    done: list[Pass] = []
    wrong: list[str] = []
    for form, folder in settings.follow:
        room = Room(settings.memory_bytes, resident_bytes())
        try:
            done.append(follow(home.store(), Followed(form, folder), home=settings.home, room=room))
        except BadInputError as error:
            wrong.append(f"{form}:{folder}: {error}")
    refused = sum(len(each.refused) for each in done)
    context.add_output_metadata(
        {
            "new_files": sum(len(each.new) for each in done),
            "grown_files": sum(len(each.grown) for each in done),
            "waiting_files": sum(len(each.waiting) for each in done),
            "refused_files": refused,
            "streams": sum(each.conversations for each in done),
            "grown_streams": sum(each.went_on for each in done),
            "events": sum(each.events for each in done),
        }
    )
    if refused:
        # why is not said here: a reason may quote what was recorded, and records of runs hold nothing of that
        wrong.append(f"refused files: {refused:,}; `refold import FORM --follow FOLDER` names them")
    if wrong:
        raise dg.Failure(f"{'; '.join(wrong)}; all others are imported")


@dg.job(description="Import the files of REFOLD_FOLLOW that are new or have grown.")
def follow_folders() -> None:
    """One step. `refold import FORM --follow FOLDER` does the same for one folder."""
    import_followed()
