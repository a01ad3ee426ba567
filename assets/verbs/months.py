"""`refold export`, `seal` and `fold`: months, those with something to do as one run for all that follow on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assets.live import has_dead_runs
from assets.outcome import CheckResult
from assets.verbs.progress import Tell, progress
from pipelines.errors import BadInputError
from pipelines.home import changing_store
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.datasets import DATASETS, EVENTS, REDACTED_EVENTS, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.startup import importing

if TYPE_CHECKING:
    from pipelines.projections.projection import BrokenProjection, Projection
    from pipelines.store import Store

Tables = dict[str, dict[str, Any]]
LOG = (EVENTS.name, STREAM_MONTHS.name)
REDACTED = REDACTED_EVENTS.name


@dataclass(frozen=True, slots=True)
class MonthRun:
    """What a verb did with one month.

    Attributes:
        month: YYYY-MM.
        run_id: Dagster's id of the run; None where there was nothing to do.
        tables: By dataset: rows, bytes, hashes, seconds, whether something was written.
        checks: What the run's checks found; of a run of several months, all that does not speak of others.
    """

    month: str
    run_id: str | None
    tables: Tables
    checks: list[CheckResult]

    @property
    def failed(self) -> list[CheckResult]:
        """The checks that did not pass and make a difference."""
        return [check for check in self.checks if not check.passed and check.severity == "ERROR"]


def export_months(settings: Settings, months: Sequence[str] | None, tell: Tell) -> list[MonthRun]:
    """Export the given months, or all that have events, oldest first.

    Raises:
        BadInputError: A month has no events in the store.
    """
    from pipelines.export.result import months_to_export

    with changing_store(settings) as store:
        lake = Lake.from_settings(settings)
        chosen = _chosen(months, months_to_export(store, lake), "no events in the store")
        return run_months(settings, lake, "export", chosen, LOG, _find_exported(store, lake, chosen), tell)


def export_and_fold(
    settings: Settings, store: Store, months: Sequence[str], tell: Tell
) -> tuple[list[MonthRun], list[MonthRun]]:
    """Export months and fold them: all are exported before the first is folded, since a late redaction reaches back.

    It is one run where the months follow on each other; of those that lie apart, the exports go first.

    Returns:
        What the exports came to, and what the folds did.
    """
    lake = Lake.from_settings(settings)
    names = folds_of(settings, None)
    exported = _find_exported(store, lake, months)
    is_behind = len(exported) < len(months)
    if is_behind and not _is_one_run(months):
        log = run_months(settings, lake, "export", months, LOG, exported, tell)
        lake = Lake.from_settings(settings)
        return log, run_months(settings, lake, "fold", months, names, _find_folded(settings, lake, months, names), tell)
    # What is exported now may be of earlier months, or go on in later ones: which folds are up to date the run finds itself.
    folded = {} if is_behind else _find_folded(settings, lake, months, names)
    found = {month: exported[month] | folded[month] for month in folded}
    done = run_months(settings, lake, "export and fold", months, (*LOG, *names), found, tell)
    log, folds = ([replace(run, tables=_only(run.tables, part)) for run in done] for part in (LOG, names))
    return log, folds


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of the lake after a part of the log was hidden or taken.

    Attributes:
        exported: Months of the lake whose events were written anew.
        folded: Months in which anything was folded anew.
        failed: Checks of the runs that did not pass, in words.
    """

    exported: list[str]
    folded: list[str]
    failed: list[str]


def write_anew(settings: Settings, store: Store, months: Iterable[str], tell: Tell) -> Rewritten:
    """Export and fold months in which something is hidden or erased since; no file shows it any more.

    What writers that died left goes, too: nobody knows what it holds.
    """
    from pipelines.lake.housekeeping import remove_redacted

    exports, folds = export_and_fold(settings, store, sorted(months), tell)
    lake = Lake.from_settings(settings)
    remove_redacted(lake, settings.catalog, lake.datasets(), with_leftovers=True)
    failed = dict.fromkeys(
        f"{check.asset} {check.name}: {check.description}" for run in (*exports, *folds) for check in run.failed
    )
    return Rewritten(_written_months(exports), _written_months(folds), list(failed))


def _written_months(runs: Sequence[MonthRun]) -> list[str]:
    return [run.month for run in runs if any(told.get("is_written") for told in run.tables.values())]


def _is_one_run(months: Sequence[str]) -> bool:
    with importing():
        from assets.partitions import in_a_row

    return len(list(in_a_row(months))) == 1


def seal_month(settings: Settings, month: str, tell: Tell) -> MonthRun:
    """Seal a month that has ended; one that is sealed stays as it is.

    Raises:
        NotSealableError: It has not ended, or cannot be sealed as it is; no run was started.
    """
    from assets.metadata import reported_seal
    from pipelines.export.sealed import find_sealed
    from pipelines.store import Store

    lake = Lake.from_settings(settings)
    with Store.open(settings, must_exist=True) as store:
        sealed = find_sealed(store, lake, month)
        found = {} if sealed is None else {month: {"merkle_nodes": reported_seal(sealed)}}
        (done,) = run_months(settings, lake, "seal", [month], ("merkle_nodes",), found, tell)
    return done


def fold_months(
    settings: Settings, names: Sequence[str] | None, months: Sequence[str] | None, tell: Tell
) -> list[MonthRun]:
    """Fold the given projections (default: all, one's own too) over the given months, or all in the lake, oldest first.

    What a projection of one's own reads is folded before it. One that cannot be folded is a failed check of its month.

    Raises:
        BadInputError: There is no such projection, or a month is not in the lake.
    """
    from pipelines.projections.projection import left_over

    lake = Lake.from_settings(settings)
    chosen_names = folds_of(settings, names)
    for name in left_over(lake, settings.home):
        tell(f"{name}: its file is gone, its table stays as last folded; `refold fold --drop {name}` removes it")
    # Runs need the home, not the store: with an embedded server nothing has to be up.
    chosen = _chosen(months, lake.months(EVENTS.name), "not in the lake; run `refold export`")
    return run_months(
        settings, lake, "fold", chosen, chosen_names, _find_folded(settings, lake, chosen, chosen_names), tell
    )


def folds_of(settings: Settings, names: Sequence[str] | None) -> list[str]:
    """The given projections with what they read, or all of them, in the order in which they are folded.

    Raises:
        BadInputError: There is no such projection.
    """
    from pipelines.folds.shipped import FOLDS
    from pipelines.projections.projection import BrokenProjection, find_projections

    own = {each.name: each for each in find_projections(settings.home)}
    known = [REDACTED, *FOLDS, *own]
    if not names:
        return known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInputError(
            f"there is no projection {unknown[0]!r}; there are {', '.join(known)}; "
            f"your own are SQL files in {settings.home / 'folds'}"
        )
    from pipelines.projections.relations import RELATIONS

    needed = set(names)
    for name in names:
        projection = own.get(name)
        if projection is not None and not isinstance(projection, BrokenProjection):
            needed |= {each.name for read in projection.reads for each in RELATIONS[read].datasets}
    return [name for name in known if name in needed]


def run_months(
    settings: Settings,
    lake: Lake,
    what: str,
    months: Sequence[str],
    names: Sequence[str],
    found: Mapping[str, Tables],
    tell: Tell,
) -> list[MonthRun]:
    """Materialise the assets `names` of the months that are not up to date.

    Args:
        settings: The home.
        lake: Its lake.
        what: What is done with a month, for progress.
        months: YYYY-MM.
        names: Datasets.
        found: What is told of the months that are up to date. They are part of a run all the same when a run before ended without a
            word: then the page may not know them.
        tell: Takes a line of progress.
    """
    if has_dead_runs(settings.home / "dagster"):
        found = {}
    done = {month: MonthRun(month, None, tables, []) for month, tables in found.items()}
    waiting = [month for month in months if month not in found]
    if waiting:
        with importing():
            from assets.partitions import in_a_row
            from assets.runs import Runs

        with Runs(settings, on_progress=progress("rows", tell), on_message=tell) as runs:
            for row in in_a_row(waiting):
                if len(row) == 1:
                    tell(f"{row[0]} {what}")
                run = runs.materialize(names, row).require()
                for check in run.checks:
                    if not check.passed:
                        tell(f"  {check.severity} {check.asset} {check.name}: {check.description}")
                for month in row:
                    checks = [
                        _of_month(check, month) for check in run.checks if not check.months or month in check.months
                    ]
                    done[month] = MonthRun(month, run.run_id, run.partitions.get(month, {}), checks)
    else:
        publish_catalog(lake, settings.catalog)
    return [done[month] for month in months]


def _of_month(check: CheckResult, month: str) -> CheckResult:
    """What a check found of one month, where it says that of single ones."""
    return replace(check, description=check.months[month], months={}) if check.months else check


def _only(tables: Tables, names: Sequence[str]) -> Tables:
    return {name: told for name, told in tables.items() if name in names}


def _find_exported(store: Store, lake: Lake, months: Sequence[str]) -> dict[str, Tables]:
    """What is told of the months that the lake holds as the store does; the lake's copy of the home log is made good."""
    from assets.metadata import reported, reported_heads
    from pipelines.export.home_log import copy_home_log, finish_erasures
    from pipelines.export.listing import find_outdated
    from pipelines.export.result import find_exported

    finish_erasures(store, lake)
    copy_home_log(store, lake)
    outdated = find_outdated(store, lake, months)
    return {
        month: {EVENTS.name: reported(result), STREAM_MONTHS.name: reported_heads(result)}
        for month, result in find_exported(store.dsn, lake, months).items()
        if month not in outdated
    }


def _find_folded(settings: Settings, lake: Lake, months: Sequence[str], names: Sequence[str]) -> dict[str, Tables]:
    """What is told of the months in which all the projections are up to date."""
    from pipelines.projections.projection import find_projections

    committed = [{commit.partition for commit in lake.last_commits(name)} for name in names if name in DATASETS]
    months = [month for month in months if all(f"month={month}" in partitions for partitions in committed)]
    if not months:
        return {}
    own = [each for each in find_projections(settings.home) if each.name in names]
    with lake.reading(None if own else "FROM events, stream_months"):
        return _find_read(lake, months, names, own)


def _find_read(
    lake: Lake, months: Sequence[str], names: Sequence[str], own: Sequence[Projection | BrokenProjection]
) -> dict[str, Tables]:
    from assets.metadata import reported_fold, reported_own
    from pipelines.folds.redacted import find_redacted
    from pipelines.folds.result import find_folded
    from pipelines.folds.shipped import FOLDS

    folded = find_folded(lake, months, [name for name in names if name in FOLDS])
    found: dict[str, Tables] = {
        month: {each.dataset: reported_fold(each) for each in results}
        for month, results in folded.items()
        if not any(each.set_aside for each in results)  # which is told, as a failed check, until they fit
    }
    if REDACTED in names:
        redacted = find_redacted(lake, list(found))
        found = {m: {REDACTED: reported_fold(redacted[m]), **found[m]} for m in found if m in redacted}
    for projection in own:
        from pipelines.projections.fold import find_projected
        from pipelines.projections.projection import BrokenProjection

        if isinstance(projection, BrokenProjection):
            return {}
        projected = find_projected(lake, projection, list(found))
        found = {m: {**found[m], projection.name: reported_own(projected[m])} for m in found if m in projected}
    return found


def _chosen(months: Sequence[str] | None, known: Sequence[str], why: str) -> list[str]:
    if not months:
        return list(known)
    unknown = sorted(set(months) - set(known))
    if unknown:
        raise BadInputError(f"month {', '.join(unknown)}: {why}; there are {', '.join(known) or 'none'}")
    return sorted(set(months))
