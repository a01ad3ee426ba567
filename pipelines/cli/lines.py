"""`refold lines`: what the store holds as a file of run lines, the inverse of `refold import chat`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.options import PATH, json_option
from pipelines.console import Ticker, counted, print_result, tell, to_plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

_SHOWN = 20
"""Streams left out that are named; `--json` names all."""


@click.command()
@click.option("-o", "output", type=PATH, required=True, help="The file; .gz packs it; - is standard output.")
@click.option("--where", help="SQL over the conversations, as in an experiment; the others are left out.")
@click.option("--source", help="What this source recorded, alone.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
def lines(output: Path, where: str | None, source: str | None, force: bool, as_json: bool) -> None:
    """Write conversations as JSON lines, redacted, which `import chat` reads.

    A conversation that was imported is the line that it was; any other has what no field says under `records`. Registered
    prompts and tools come along; without --where, everything else of the store does, too. Streams that do not fit into
    REFOLD_MEMORY are named and left out, and the verb ends with 1.
    """
    from uuid import UUID

    from pipelines.ingest.line_files import refuse_existing, write_lines
    from pipelines.ingest.reading.room import Room
    from pipelines.lake.memory import resident_bytes
    from pipelines.store import Store

    is_printed = str(output) == "-"
    if is_printed and as_json:
        raise BadInputError("-o - writes the lines to standard output, where --json would print; name a file")
    if not force:
        refuse_existing(output)
    settings = Settings.from_env()
    streams = None
    if where is not None:
        from pipelines.home import tell_behind
        from pipelines.lake.lake import Lake
        from pipelines.lake.where import matching_streams

        tell_behind(settings, tell)
        streams = frozenset(map(UUID, matching_streams(Lake.from_settings(settings), where)))
    with Store.open(settings, any_format=True, must_exist=True) as store:
        result = write_lines(
            store,
            output,
            source=source,
            streams=streams,
            room=Room(settings.memory_bytes, resident_bytes()),
            is_replacing=force,
            progress=Ticker("lines"),
        )
    told = [
        f"{counted(result.lines, 'line')}, {counted(result.conversations, 'conversation')} and {counted(result.events, 'event')}"
        + ("" if is_printed else f" written to {output}"),
        f"{counted(result.redactions, 'redaction')} applied, and told in records.refold.redactions"
        if result.redactions
        else "",
        f"{counted(result.erased, 'erased event')} {'has' if result.erased == 1 else 'have'} no line"
        if result.erased
        else "",
    ]
    text = "\n".join(line for line in told if line)
    if is_printed:
        tell(text)
    else:
        print_result({**to_plain(result), "path": str(output)}, text, as_json=as_json)
    for each in result.left_out[:_SHOWN]:
        tell(f"refold: stream {each.stream} has no line: {each.reason}")
    if len(result.left_out) > _SHOWN:
        tell(f"refold: {len(result.left_out) - _SHOWN:,} more streams have no line; --json names them")
    if result.left_out:
        raise click.exceptions.Exit(1)
