"""`refold review`: pairs put before people, what their verdicts come to, and a regression set of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import COUNT, FILE, json_option
from pipelines.console import counted, print_result, render_table, tell
from pipelines.errors import BadInputError
from pipelines.settings import Settings
from pipelines.verdicts.sampling import KINDS, STRATA, Design, Kind
from pipelines.verdicts.verdict import CHOICES, Choice

if TYPE_CHECKING:
    from pipelines.diff.versions import Version
    from pipelines.verdicts.summary import Line

_WORDS = {
    "net": "B better less B worse",
    "better": "B better",
    "worse": "B worse",
    "same": "no difference",
    "unsure": "unsure",
    "agreement_ac1": "agreement (Gwet's AC1)",
    "agreement_kappa": "agreement (kappa)",
}
_REASONS = {
    "no_verdicts": "nobody judged",
    "few_verdicts": "too few pairs for an interval",
    "no_pair_twice": "no pair was judged by two",
    "few_pairs_twice": "too few pairs were judged by two",
    "one_choice": "all said the same of all",
}


@click.command()
@click.argument("experiment", required=False, help="Experiment to open; default: the newest version.")
@click.option("--version", "version_id", help="Version to judge; its id may be shortened. Default: the newest.")
@click.option("--as", "reviewer", metavar="NAME", help="Who reviews.")
@click.option("--design", type=click.Choice(KINDS), default="uniform", show_default=True, help="How pairs are drawn.")
@click.option("--by", type=click.Choice(STRATA), help="With --design stratified: the strata (default: unit_class).")
@click.option("--sample", type=COUNT, default=200, show_default=True, help="Pairs that are drawn.")
@click.option("--reviewers", type=COUNT, default=1, show_default=True, help="To how many people each pair goes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another one draws others.")
@click.option("--summary", is_flag=True, help="Print what all verdicts come to; serve no page.")
@click.option("--pin", type=FILE, metavar="FILE", help="Write the judged pairs as an experiment's units_file; no page.")
@click.option("--choice", "choices", type=click.Choice(CHOICES), multiple=True, help="With --pin: only these.")
@click.option("--port", type=int, help="Port on 127.0.0.1; default: a free one.")
@click.option("--headless", is_flag=True, help="Serve the page, open no browser.")
@json_option
def review(
    experiment: str | None,
    version_id: str | None,
    reviewer: str | None,
    design: Kind,
    by: str | None,
    sample: int,
    reviewers: int,
    seed: int,
    summary: bool,
    pin: Path | None,
    choices: tuple[Choice, ...],
    port: int | None,
    headless: bool,
    as_json: bool,
) -> None:
    """Judge the pairs of an experiment in the browser: is B better than A, or worse?

    Verdicts are kept in the store, each as soon as it is given. They say, with an interval, what holds of all pairs: pairs are drawn by
    chance, with known probability. --summary prints it; --pin makes a regression set of what was judged.
    """
    from pipelines.home import tell_empty

    if by is not None and design != "stratified":
        raise BadInputError(f"--by {by} is for --design stratified, not for {design}")
    if choices and pin is None:
        raise BadInputError("--choice is for --pin FILE, which writes the pairs of these verdicts")
    settings = Settings.from_env()
    if summary or pin is not None:
        tell_empty(settings, tell)
        _tell_verdicts(settings, experiment, version_id, pin, choices, as_json=as_json)
        return
    if as_json:
        raise BadInputError("--json is for --summary and --pin; a page prints nothing")
    from pipelines.desks.serve import serve_review
    from pipelines.lake.lake import Lake
    from pipelines.verdicts.desk import Queue

    queue = Queue(Design(design, sample, seed, by), reviewers)
    tell_empty(settings, tell)
    opened = None if version_id is None else _find(Lake.from_settings(settings), experiment, version_id)
    serve_review(
        settings,
        experiment if opened is None else opened.experiment,
        port,
        tell,
        is_headless=headless,
        version_id=None if opened is None else opened.version_id,
        reviewer=reviewer,
        queue=queue,
    )


def _tell_verdicts(
    settings: Settings,
    experiment: str | None,
    version_id: str | None,
    pin: Path | None,
    choices: tuple[Choice, ...],
    *,
    as_json: bool,
) -> None:
    """Print what verdicts come to, or write the pairs that were judged."""
    from pipelines.lake.lake import Lake
    from pipelines.store import Store
    from pipelines.verdicts.record import Review
    from pipelines.verdicts.table import keep_review, summarise_review

    lake = Lake.from_settings(settings)
    version = _find(lake, experiment, version_id)
    with Store.open(settings, must_exist=True) as store:
        told: dict[str, Any] = {"experiment": version.experiment, "version_id": version.version_id}
        if pin is not None:
            from pipelines.output import open_output
            from pipelines.verdicts.pin import pinned

            found = Review(store, version.experiment, version.version_id)
            found.refresh()
            lines = pinned(found.standing.values(), choices)
            with open_output(pin) as file:
                file.write("".join(f"{line}\n" for line in lines).encode())
            text = f"{counted(len(lines), 'pair')} in {pin}; an experiment takes them by units_file: {pin.name}"
            print_result(told | {"file": str(pin), "pairs": len(lines)}, text, as_json=as_json)
            return
        numbers = summarise_review(lake, store, version)
        keep_review(lake, version, numbers)
    print_result(told | {"summary": [asdict(each) for each in numbers]}, _render(version, numbers), as_json=as_json)


def _find(lake: Any, experiment: str | None, version_id: str | None) -> Version:
    from pipelines.diff.versions import list_versions, pick_version

    versions = list_versions(lake, experiment)
    if version_id is not None:
        return pick_version(versions, version_id)
    if not versions:
        raise BadInputError("there is no complete version to review; `refold ab FILE` makes one")
    return versions[0]


def _render(version: Version, lines: list[Line]) -> str:
    from pipelines.review.numbers import number, percent

    def row(line: Line) -> list[object]:
        show = number if line.metric.startswith("agreement") else percent
        bounds = _REASONS[line.reason] if line.reason else f"{show(line.low)} to {show(line.high)}"
        name = _WORDS.get(line.metric, line.metric)
        where = "all" if line.segment == "all" else f"{line.segment}: {line.segment_value}"
        return [where, name, show(line.estimate), bounds, line.n, line.reviewers]

    head = f"{version.experiment}  version {version.version_id}: what people say of {counted(lines[0].pairs, 'pair')}"
    drawn = f"drawn: {lines[0].design}" if lines[0].design else "nothing was drawn and judged yet"
    return "\n".join(
        [
            head,
            drawn,
            "",
            render_table(["pairs", "share", "estimate", "95 % interval", "judged", "people"], list(map(row, lines))),
        ]
    )
