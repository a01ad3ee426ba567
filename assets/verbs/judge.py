"""The judge of an experiment, asked about complete versions: for `refold ab` and for the asset, which do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from assets.verbs.progress import Tell
from pipelines.console import to_plain
from pipelines.diff.result import DiffResult
from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.judge.run import Judged, Judging
from pipelines.judge.told import judge_lines, render_judge, render_price
from pipelines.lake.lake import Lake
from pipelines.review.headline import find_version
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.store.access import Accessed, record_access
from pipelines.verdicts.summary import Line
from pipelines.verdicts.table import keep_review, summarise_review


def judge_versions(
    settings: Settings,
    lake: Lake,
    open_store: Callable[[], Store],
    experiment: Experiment,
    folder: Path,
    versions: Sequence[Version],
    tell: Tell,
) -> list[tuple[Judged, list[Line]]]:
    """Ask a judge about versions of its experiment, and sum up what it said beside what people say.

    Args:
        settings: The home.
        lake: Its lake.
        open_store: Gives the store, in which accesses are recorded and verdicts are.
        experiment: Names the judge.
        folder: Folder of its file.
        versions: Complete ones, of the experiment or its candidates.
        tell: Takes a line of progress.

    Returns:
        Of each version what was asked, and all lines of its review.

    Raises:
        BadInputError: The judge cannot be asked as the experiment says.
        EndpointError: Its endpoint answers nobody; what was paid for is kept.
    """
    found = []
    for version in versions:
        judging = Judging(lake, experiment, folder, version, settings)

        def record_sending(endpoint: str, version: Version = version, judging: Judging = judging) -> None:
            targets = [Accessed(stream) for stream in judging.streams()]
            record_access(
                open_store(),
                "replay",
                experiment.access_reason,
                targets,
                endpoint=endpoint,
                version_id=version.version_id,
            )

        judged = judging.run(tell, record_sending)
        lines = summarise_review(lake, open_store(), version)
        keep_review(lake, version, lines)
        found.append((judged, lines))
    return found


def ask_judge(
    settings: Settings, lake: Lake, experiment: Experiment, folder: Path, results: Sequence[DiffResult], tell: Tell
) -> tuple[list[str], list[dict[str, Any]]]:
    """Ask the experiment's judge about complete versions: of each a part of the page, and the same for a program."""
    assert experiment.judge is not None
    versions = [find_version(lake, each.experiment, each.version_id) for each in results]
    opened: list[Store] = []
    with ExitStack() as stack:

        def open_store() -> Store:
            if not opened:
                opened.append(stack.enter_context(Store.open(settings)))
            return opened[0]

        found = judge_versions(settings, lake, open_store, experiment, folder, versions, tell)
    pages = [
        render_judge(version.experiment, experiment.judge.model, judged, lines)
        for version, (judged, lines) in zip(versions, found, strict=True)
    ]
    return pages, [{**to_plain(judged), "lines": to_plain(judge_lines(lines))} for judged, lines in found]


def price_judge(
    settings: Settings, lake: Lake, experiment: Experiment, folder: Path, version_ids: Sequence[str]
) -> str:
    """What the judge would cost on the versions that are planned: exactly where they are complete, else in requests."""
    assert experiment.judge is not None
    lines = []
    for version_id in version_ids:
        try:
            version = find_version(lake, version_id=version_id)
        except BadInputError:
            most = 2 * experiment.judge.pairs
            lines.append(f"judge: up to {most:,} requests to {experiment.judge.model}, priced once B has answered")
            continue
        price = Judging(lake, experiment, folder, version, settings).price()
        lines.append(render_price(experiment.judge.model, price))
    return "\n".join(dict.fromkeys(lines))
