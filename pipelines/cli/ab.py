"""`refold ab`: one experiment, checked, tried or run, and what came of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import COUNT, FILE, allow_files_option, json_option
from pipelines.cli.replay import allowing
from pipelines.console import print_result, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.pull_request.files import Files
from pipelines.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.diff.check import Checked
    from pipelines.diff.gating import Decision
    from pipelines.diff.result import DiffResult
    from pipelines.experiment.file import Experiment
    from pipelines.lake.lake import Lake


@click.command()
@click.argument("file", type=FILE, required=False, help="The experiment, YAML.")
@click.option("--init", is_flag=True, help="Write an experiment to begin with, to FILE or to stdout; run nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked, sent and paid; do none of it.")
@click.option("--retry-failed", is_flag=True, help="Replay the units of a version that failed once more.")
@click.option(
    "--check-determinism",
    "checked_units",
    type=COUNT,
    metavar="N",
    help="Replay N units of an agent twice from kept answers, and say what it did differently; write nothing.",
)
@click.option("--github-comment", type=FILE, help="Write what came of it as a comment for a pull request, Markdown.")
@click.option("--junit", type=FILE, help="Write it as a JUnit file, for any other CI.")
@click.option("--report-url", metavar="URL", help="Where the report can be opened, for the comment's link.")
@click.option("--without-texts", is_flag=True, help="Quote nothing that was recorded in the comment.")
@allow_files_option
@json_option
def ab(
    file: Path | None,
    init: bool,
    dry_run: bool,
    retry_failed: bool,
    checked_units: int | None,
    github_comment: Path | None,
    junit: Path | None,
    report_url: str | None,
    without_texts: bool,
    allow_files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare two sides: replay, diff, summarise."""
    files = Files(github_comment, junit, report_url, with_texts=not without_texts)
    files.require()
    if files and (init or dry_run or checked_units):
        raise BadInputError("--github-comment and --junit tell what came of a comparison, and nothing is compared here")
    if init:
        write_starter(file)
        return
    if file is None:
        raise BadInputError("name an experiment file, or write one to begin with: refold ab --init FILE")

    from pipelines.diff.check import read_checked

    settings = allowing(Settings.from_env(), allow_files)
    folder = file.resolve().parent
    results: list[DiffResult] = []

    @cache
    def open_lake() -> Lake:
        from pipelines.lake.lake import Lake

        return Lake.from_settings(settings)

    def is_unchanged(experiment: Experiment) -> bool:
        if dry_run or retry_failed or checked_units:
            return False
        from assets.verbs.unchanged import find_unchanged

        found = [find_unchanged(settings, open_lake(), each, folder, tell) for each in experiment.by_candidate()]
        results.extend(result for each in found if each is not None and None not in found for result in each)
        return bool(results)

    checked = read_checked(file, settings, is_unchanged)  # before anything heavy is imported
    experiment = checked.experiment

    from pipelines.home import tell_behind

    lake = open_lake()
    tell_behind(settings, tell, lake)
    if dry_run:
        _print_estimates(settings, checked, folder, as_json=as_json)
        return
    if checked_units:
        _check_determinism(settings, lake, experiment, folder, checked_units, as_json=as_json)
        return
    if not results:
        from assets.verbs.compare import compare_all

        require = checked.require_keys
        results = compare_all(settings, lake, experiment, folder, tell, retry_failed=retry_failed, require_keys=require)
    judged = _judge(settings, lake, experiment, folder, results)
    _print_results(settings, lake, experiment, results, files, judged, as_json=as_json)


def _print_estimates(settings: Settings, checked: Checked, folder: Path, *, as_json: bool) -> None:
    """What a run would ask, send and pay, window by window."""
    from pipelines.lake.lake import Lake
    from pipelines.replay.estimate import estimate_experiment, total_of

    for _place, what in checked.missing_keys:
        tell(f"note: {what}; a dry run needs none")
    candidates = checked.experiment.by_candidate()
    found = [each for one in candidates for each in estimate_experiment(settings, one, folder, tell)]
    estimates = [{**to_plain(estimate), "window": to_plain(plan.window)} for plan, estimate in found]
    page = "\n\n".join(estimate.describe() for _, estimate in found)
    if len(candidates) > 1:
        usd = total_of(estimate for _, estimate in found)
        page += "\n\nall candidates: " + ("price not known" if usd is None else f"about {usd:,.4f} USD")
        page += ", the control once; the budget is each candidate's own"
    elif len(found) > 1:
        page += "\na decision that is in several windows is asked and paid once"
    if checked.experiment.judge is not None:
        from assets.verbs.judge import price_judge

        version_ids = [estimate.version_id for _, estimate in found]
        page += "\n\n" + price_judge(settings, Lake.from_settings(settings), checked.experiment, folder, version_ids)
    print_result({**estimates[-1], "windows": estimates}, page, as_json=as_json)


def _check_determinism(
    settings: Settings, lake: Lake, experiment: Experiment, folder: Path, count: int, *, as_json: bool
) -> None:
    """What an agent did differently the second time, in the newest window.

    Raises:
        Exit: With 3: it did something differently.
    """
    if experiment.candidates:
        raise BadInputError("--check-determinism is of one agent: name it with candidate, not among candidates")
    from pipelines.experiment.plan import make_plans
    from pipelines.replay.agents.determinism import check_determinism

    *_, plan = make_plans(lake, experiment, folder, tell, allowed=settings.allow_files)
    found = check_determinism(lake, plan, count, settings=settings, tell=tell)
    print_result(to_plain(found), found.describe(), as_json=as_json)
    if found.differences:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def _judge(
    settings: Settings, lake: Lake, experiment: Experiment, folder: Path, results: Sequence[DiffResult]
) -> tuple[list[str], list[dict[str, Any]]]:
    """What the experiment's judge says of complete versions, as parts of the page and for a program; nothing without one."""
    if experiment.judge is None:
        return [], []
    from assets.verbs.judge import ask_judge

    return ask_judge(settings, lake, experiment, folder, results, tell)


def _print_results(
    settings: Settings,
    lake: Lake,
    experiment: Experiment,
    results: Sequence[DiffResult],
    files: Files,
    judged: tuple[list[str], list[dict[str, Any]]],
    *,
    as_json: bool,
) -> None:
    """The pages of complete versions, with their answers, and the files that tell them elsewhere.

    Raises:
        Exit: With 3: a gate did not pass.
    """
    from pipelines.diff.gating import decide_version
    from pipelines.review.answer import render_decision, render_windows
    from pipelines.review.files import report_path
    from pipelines.review.page import READS, render_page

    pages = []
    told: dict[str, Any] = {}
    with lake.reading(READS):
        decisions = [decide_version(lake, each.experiment, each.version_id, experiment.gate) for each in results]
        for result, decision in zip(results, decisions, strict=True):
            kept = "" if result.is_written else "\n\nThis version is complete already; nothing was written."
            report = f"report: {report_path(settings.home, result.experiment, result.version_id)}"
            pages.append(f"{render_page(lake, result)}{kept}\n\n{report}\n\n{render_decision(decision)}")
        if experiment.candidates:
            page, told = _candidates(settings, lake, experiment, results, decisions)
            pages.append(page)
    pages += judged[0]
    told |= {"judge": judged[1]} if judged[1] else {}
    if files:
        from pipelines.pull_request.write import write_files

        write_files(lake, files, results, decisions)
    if len(results) > 1 and not experiment.candidates:
        pages.append(render_windows(results, decisions))
    windows = [
        {
            **to_plain(result),
            **to_plain(found),
            "report": str(report_path(settings.home, result.experiment, result.version_id)),
        }
        for result, found in zip(results, decisions, strict=True)
    ]
    print_result({**windows[-1], "windows": windows, **told}, "\n\n".join(pages), as_json=as_json)
    if not all(decision.gate is None or decision.gate.passed for decision in decisions):
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def _candidates(
    settings: Settings,
    lake: Lake,
    experiment: Experiment,
    results: Sequence[DiffResult],
    decisions: Sequence[Decision],
) -> tuple[str, dict[str, Any]]:
    """All candidates on one page, which is written into the home: as text, and for a program."""
    from pipelines.diff.candidates import compare_candidates
    from pipelines.review.candidates import Compared, render_candidates, render_candidates_html
    from pipelines.review.files import report_path, write_report

    by_window: dict[tuple[str | None, str | None], list[int]] = {}
    for place, result in enumerate(results):
        by_window.setdefault(result.window, []).append(place)
    found = []
    for places in by_window.values():
        there = [results[place] for place in places]
        comparison = compare_candidates(lake, experiment, {each.experiment: each.version_id for each in there})
        found.append(Compared(experiment.experiment, there, [decisions[place] for place in places], comparison))
    path = report_path(settings.home, experiment.experiment, "candidates")
    write_report(render_candidates_html(found), path)
    page = "\n\n".join([*(render_candidates(each) for each in found), f"all candidates: {path}"])
    return page, {"candidates": [to_plain(each.comparison) for each in found], "candidates_report": str(path)}


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
