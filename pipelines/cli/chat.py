"""`refold import chat`: chat-completions lines, and datasets of a shape."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipelines.cli.follow import FOLLOW_OPTIONS, follow_folder, refuse_settle
from pipelines.cli.forms import SHAPES, import_dataset
from pipelines.cli.options import PATH, TIME, json_option, times_from_option, times_until_option
from pipelines.console import Ticker, counted, print_result
from pipelines.errors import BadInputError
from pipelines.settings import Settings


@click.command()
@click.argument(
    "files",
    type=PATH,
    nargs=-1,
    help="Chat-completions JSON lines; .gz and pipes too; - is standard input. None with --follow.",
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="The files are a dataset: ShareGPT, Hermes, or content parts.",
)
@click.option("--source", help="Source of lines that name none.")
@click.option("--at", type=TIME, help="Time of conversations that have none, UTC (default: now).")
@times_from_option
@times_until_option
@click.option("--skip-bad", type=PATH, help="Write bad lines with reasons to this file, import the rest.")
@FOLLOW_OPTIONS[0]
@FOLLOW_OPTIONS[1]
@click.option("--dry-run", is_flag=True, help="With --follow: say what would be read; import nothing.")
@json_option
def import_chat(
    files: tuple[Path, ...],
    shape: str | None,
    source: str | None,
    at: datetime | None,
    times_from: datetime | None,
    times_until: datetime | None,
    skip_bad: Path | None,
    follow: Path | None,
    settle: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import chat-completions conversations, exactly and repeatably."""
    from pipelines.home import changing_store
    from pipelines.ingest.chat import ImportProgress, import_chat
    from pipelines.ingest.clock import Days
    from pipelines.ingest.reading.pipes import refuse_unreadable
    from pipelines.ingest.reading.room import Room
    from pipelines.lake.memory import resident_bytes

    given: dict[str, Any] = {"source": source, "at": at, "times_from": times_from, "times_until": times_until}
    given["skip_bad"] = skip_bad
    settings = Settings.from_env()
    if follow is not None:
        given |= {"files": files, "shape": shape, "dry_run": dry_run}
        follow_folder(settings, "chat", follow, settle, given, as_json=as_json)
        return
    refuse_settle(settle)
    if not files or dry_run:
        raise BadInputError("--dry-run goes with --follow" if files else "name files, or a folder with --follow")
    if shape is not None:
        import_dataset(files, shape, as_json=as_json, given=given)
        return
    ticker, bytes_read = Ticker("conversations"), Ticker("bytes")

    def progress(at_now: ImportProgress) -> None:
        (ticker if at_now.conversations else bytes_read)(at_now.conversations or at_now.bytes_read)

    refuse_unreadable(files)
    with changing_store(settings) as store:
        result = import_chat(
            store,
            files,
            at=at,
            source=source,
            days=Days.given(times_from, times_until, datetime.now(UTC)),
            skip_bad=skip_bad,
            spool=settings.home,
            room=Room(settings.memory_bytes, resident_bytes()),
            progress=progress,
        )
    lines = [
        f"{counted(result.conversations, 'conversation')}, {counted(result.events, 'event')} appended"
        + (f" in months {result.months[0]} to {result.months[-1]}" if result.months else ""),
        f"gone on since they were imported: {counted(result.grown, 'conversation')}" if result.grown else "",
        f"erased, and left out: {counted(result.erased, 'conversation')}" if result.erased else "",
        f"there already and unchanged: {counted(result.already_present, 'conversation')}"
        if result.already_present
        else "",
        f"{counted(result.skipped, 'bad line')} written to {skip_bad}" if result.skipped else "",
        *(f"{name} holds no line: nothing came from it" for name in result.empty),
    ]
    print_result(result, "\n".join(line for line in lines if line), as_json=as_json)
