"""`refold diffs`: list versions, say what differs between two, remove old ones."""

from __future__ import annotations

import re

import click

from pipelines.cli.help import Verbs
from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table, size, tell
from pipelines.errors import BadInputError
from pipelines.settings import Settings

_SHOW = "show"
_DAYS = re.compile(r"(\d+(?:\.\d+)?)d?")


class _ShowByDefault(Verbs):
    """Takes what is no verb of its own for arguments of `show`: `refold diffs`, `refold diffs NAME`, `refold diffs A B`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_verb = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_verb else [_SHOW, *args])


diffs = _ShowByDefault("diffs", help="List versions, compare two of them, or remove old ones.")


@diffs.command(_SHOW)
@click.argument("names", nargs=-1, help="An experiment, to list its versions; or two version ids, to compare them.")
@json_option
def show(names: tuple[str, ...], as_json: bool) -> None:
    """List complete versions, newest first; or say what differs between two, and how the conclusions moved.

    `show` may be left out: refold diffs, refold diffs EXPERIMENT, refold diffs A B. Ids may be shortened.
    """
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake

    settings = Settings.from_env()
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    if len(names) > 2:
        raise BadInputError(f"give an experiment, or two versions; given: {', '.join(names)}")
    if len(names) == 2:
        from pipelines.diff.version_diff import compare_versions
        from pipelines.diff.versions import resolve_version
        from pipelines.review.version_diff import render_versions

        found = compare_versions(lake, *(resolve_version(lake, name) for name in names))
        print_result(found, render_versions(found), as_json=as_json)
        return
    from pipelines.diff.versions import list_versions

    versions = list_versions(lake, names[0] if names else None)
    columns = ["experiment", "version_id", "committed_at", "pairs", "same_calls", "same_final", "result_hash"]
    rows = [
        [v.experiment, v.version_id, f"{v.committed_at:%F %T}", v.pairs, v.same_calls, v.same_final, v.result_hash[:16]]
        for v in versions
    ]
    told = [f"{v.version_id} {v.revision.describe(v.unit)}" for v in versions if v.revision is not None]
    shown = [render_table(columns, rows) if rows else "no version yet", *told]
    print_result({"versions": versions}, "\n".join(shown), as_json=as_json)


@diffs.command()
@click.argument("experiment", required=False, help="Only this experiment.")
@click.option("--keep", type=int, help="Versions of each experiment that stay.")
@click.option("--older-than", help="Remove only what is older, in days: 30d.")
@click.option("--newest-too", is_flag=True, help="Let the newest complete version of an experiment go as well.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@json_option
def prune(
    experiment: str | None, keep: int | None, older_than: str | None, newest_too: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove old versions and their reports. Files of the lake stay until `refold vacuum` finds REFOLD_GRACE over; what models answered stays."""
    from pipelines.diff.prune import prune_versions
    from pipelines.lake.catalog import publish_catalog
    from pipelines.lake.lake import Lake
    from pipelines.review.files import report_path

    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    found = prune_versions(
        lake,
        experiment,
        keep=keep,
        older_than_days=None if older_than is None else _days(older_than),
        newest_too=newest_too,
        is_dry_run=dry_run,
    )
    if (found.versions or found.unfinished) and not dry_run:
        for version in found.versions:
            report_path(settings.home, version.experiment, version.version_id).unlink(missing_ok=True)
        publish_catalog(lake, settings.catalog)
    rows = [[v.experiment, v.version_id, f"{v.committed_at:%F %T}", v.pairs] for v in found.versions]
    done = "would remove" if dry_run else "removed"
    lines = [
        f"{done} {len(rows):,} versions, {found.rows:,} rows, {size(found.size_bytes)}; {found.kept:,} versions stay",
        *([render_table(["experiment", "version_id", "committed_at", "pairs"], rows)] if rows else []),
        *(f"  {each['experiment']} {each['version_id']}: never completed" for each in found.unfinished),
    ]
    print_result(found, "\n".join(lines), as_json=as_json)


def _days(text: str) -> float:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise BadInputError(f"--older-than is {text!r}; write a number of days such as 30d")
    return float(found[1])
