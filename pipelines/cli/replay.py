"""Verbs of `refold` that are about one decision, one version or tools: `replan`, `report`, `tools suggest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from pipelines.cli.help import Verbs
from pipelines.cli.options import COUNT, FILE_THERE, PATH, allow_files_option, json_option
from pipelines.console import print_result, tell
from pipelines.settings import Settings

tools = Verbs("tools", help="What the recorded agents' tools do.")


def allowing(settings: Settings, folders: Sequence[Path]) -> Settings:
    """The settings with further folders in which files of an experiment may be."""
    return replace(settings, allow_files=(*settings.allow_files, *(each.resolve() for each in folders)))


@click.command()
@click.argument("stream", metavar="ID", help="Stream id, or source/conversation_id.")
@click.option("--decision", type=COUNT, required=True, help="Number of the decision in its conversation.")
@click.option(
    "--candidate",
    type=FILE_THERE,
    required=True,
    help="An experiment file, or a file with just its candidate.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1, max=100),
    default=1,
    show_default=True,
    help="How often the candidate is asked.",
)
@allow_files_option
@json_option
def replan(
    stream: str, decision: int, candidate: Path, draws: int, allow_files: tuple[Path, ...], as_json: bool
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

    def record_sending(found: str, endpoint: str) -> None:
        from pipelines.store import Store
        from pipelines.store.access import Accessed, record_access

        with Store.open(settings) as store:
            record_access(store, "replay", experiment.access_reason, [Accessed(found)], endpoint=endpoint)

    found = replan_decision(
        lake, stream, decision, experiment, folder, draws, settings=settings, tell=tell, on_sending=record_sending
    )
    print_result(describe_replan(found), render_replan(found), as_json=as_json)
    if not any(draw.status == "ok" for draw in found.draws):
        raise click.exceptions.Exit(RefoldError.exit_code)


@click.command()
@click.argument("experiment", help="The experiment.")
@click.option("--version", help="Its version; default: the newest complete one.")
@click.option("-o", "output", type=PATH, help="Write to this file instead of into the home.")
@json_option
def report(experiment: str, version: str | None, output: Path | None, as_json: bool) -> None:
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
@click.option("-o", "output", type=PATH, help="Write to this file; it must not exist.")
@json_option
def suggest(output: Path | None, as_json: bool) -> None:
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
