"""Verbs of `refold` that are about one decision, one version or tools: `replan`, `report`, `tools suggest`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import print_result, tell
from pipelines.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

AllowFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-files",
        metavar="DIR",
        file_okay=False,
        help="A folder in which files that the experiment names may be, beside its own; may be given more than once.",
    ),
]

tools = typer.Typer(no_args_is_help=True, help="What the recorded agents' tools do.")


def allowing(settings: Settings, folders: list[Path] | None) -> Settings:
    """The settings with further folders in which files of an experiment may be."""
    return replace(settings, allow_files=(*settings.allow_files, *(each.resolve() for each in folders or ())))


def write_starter(file: Path | None) -> None:
    """Write an experiment to begin with; a file that is there stays as it is.

    Raises:
        BadInputError: The file is there, or cannot be written.
    """
    import re

    from pipelines.errors import BadInputError
    from pipelines.experiment.reference import starter

    name = re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._") if file is not None else ""
    text = starter(name or "my-experiment")
    if file is None:
        print_result({"text": text}, text.rstrip("\n"), as_json=False)
        return
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise BadInputError(f"{file}: cannot be written: {error.strerror}") from error
    tell(f"{file} is written; try it with: refold ab {file} --dry-run")


def replan(
    stream: Annotated[str, typer.Argument(metavar="ID", help="Stream id, or source/conversation_id.")],
    decision: Annotated[int, typer.Option(min=1, help="Number of the decision in its conversation.")],
    candidate: Annotated[
        Path, typer.Option(help="An experiment file, or a file with just its candidate.", exists=True, dir_okay=False)
    ],
    draws: Annotated[int, typer.Option(min=1, max=100, help="How often the candidate is asked.")] = 1,
    allow_files: AllowFiles = None,
    as_json: Json = False,
) -> None:
    """Put one recorded decision before a candidate, and show both actions side by side; ends with 1 when it gives no answer."""
    from pipelines.errors import RefoldError
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.replay.replan import read_candidate
    from pipelines.replay.replan import replan as replan_decision
    from pipelines.review.replanned import describe_replan, render_replan

    experiment = read_candidate(candidate)
    folder = candidate.resolve().parent
    settings = allowing(Settings.from_env(), allow_files)
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    found = replan_decision(lake, stream, decision, experiment, folder, draws, settings=settings, tell=tell)
    print_result(describe_replan(found), render_replan(found), as_json=as_json)
    if not any(draw.status == "ok" for draw in found.draws):
        raise typer.Exit(RefoldError.exit_code)


def report(
    experiment: Annotated[str, typer.Argument(help="The experiment.")],
    version: Annotated[str | None, typer.Option(help="Its version; default: the newest complete one.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Write to this file instead of into the home.")] = None,
    as_json: Json = False,
) -> None:
    """Write a version's report: one HTML file with everything in it."""
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.review.files import report_path, write_report
    from pipelines.review.headline import find_version
    from pipelines.review.report import load_report
    from pipelines.review.report_html import draw_headline, render_report

    settings = Settings.from_env()
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    found = find_version(lake, experiment, version)
    loaded = load_report(lake, found)
    path = output or report_path(settings.home, found.experiment, found.version_id)
    write_report(render_report(loaded), path)
    told = {"experiment": found.experiment, "version_id": found.version_id, "path": str(path.resolve())}
    print_result(told, f"{draw_headline(loaded.headline)}\n\nreport: {path.resolve()}", as_json=as_json)


@tools.command()
def suggest(
    output: Annotated[Path | None, typer.Option("-o", help="Write to this file; it must not exist.")] = None,
    as_json: Json = False,
) -> None:
    """Draft a tool manifest from the recorded calls: which tools read, which write, and why that is thought."""
    from pipelines.errors import BadInputError
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.replay.suggest import render_manifest, suggest_tools

    settings = Settings.from_env()
    tell_empty(settings, tell)
    found = suggest_tools(Lake.from_settings(settings))
    text = render_manifest(found)
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise BadInputError(f"{output}: cannot be written: {error.strerror}") from error
        tell(f"{len(found):,} tools in {output}")
    if output is None or as_json:
        print_result({"tools": found}, text.rstrip("\n"), as_json=as_json)
