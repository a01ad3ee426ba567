"""The lake: can it be read, is it whole, what does it lack, what is left over. Reads alone."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.console import counted, size
from pipelines.doctor.finding import Finding, ask
from pipelines.doctor.whole import look_at_files
from pipelines.home import find_behind
from pipelines.lake.housekeeping import vacuum
from pipelines.lake.lake import Lake
from pipelines.settings import Settings

_SHOWN = 3
_MANY_BYTES = 10**9
"""Of files that nobody needs, worth a word."""


def examine_lake(settings: Settings) -> Iterator[Finding]:
    """Everything about the lake that can be told without reading rows, but for what the store has to say of it."""
    if settings.lake.exists() and not settings.lake.is_dir():
        yield Finding("lake", "fail", f"{settings.lake} is no folder", "move it away, or let REFOLD_LAKE name a folder")
        return
    if not settings.lake.is_dir():
        yield Finding("lake", "ok", f"there is no lake yet in {settings.lake}", "run `refold export`")
        return
    lake = Lake.from_settings(settings)
    whole = ask("lake", lambda: _tables(lake))
    yield from whole
    if any(finding.state == "fail" for finding in whole):
        return
    yield from ask("views", lambda: _views(lake))
    yield from ask("folds", lambda: _folds(settings, lake))
    yield from ask("leftovers", lambda: _leftovers(settings, lake))


def _tables(lake: Lake) -> Iterator[Finding]:
    """The logs can be read, and each file is there with its bytes, as far as `commits` knows them."""
    found = look_at_files(lake, lake.datasets())
    if not found.faults:
        seen = f"{counted(found.tables, 'table')} of {counted(found.files, 'file')}, all there with their bytes"
        yield Finding("lake", "ok", seen)
        return
    rest = len(found.faults) - _SHOWN
    shown = "; ".join(found.faults[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
    todo = (
        "put them back from a copy, or move their month's folder away and run `refold export` and `refold fold`; "
        "`refold verify` names all"
    )
    yield Finding("lake", "fail", f"files of the lake are missing or not whole: {shown}", todo)


def _views(lake: Lake) -> Iterator[Finding]:
    with lake.connect() as connection:
        number = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall()[0][0]
    yield Finding("views", "ok", f"{counted(number, 'view')} can be made over them")


def _folds(settings: Settings, lake: Lake) -> Iterator[Finding]:
    behind = find_behind(settings, lake)
    if behind.is_empty:
        yield Finding(
            "folds", "ok", "the lake holds no events yet", "run `refold demo`, or `refold import` and `refold export`"
        )
        return
    for line in behind.describe(settings):
        seen, _, todo = line.rpartition(": run ") if ": run " in line else line.rpartition("; run ")
        yield Finding("folds", "warn", seen, f"run {todo}")
    if not behind.describe(settings):
        asked = "" if behind.waiting is not None else "; the store did not say what waits"
        yield Finding("folds", "ok", f"the lake has what is known of the store, folded{asked}")


def _leftovers(settings: Settings, lake: Lake) -> Iterator[Finding]:
    found = vacuum(lake, settings.catalog, grace_days=settings.grace_days, is_dry_run=True)
    reasons = sorted({each.reason for each in found.swept})
    kept = (
        f"{counted(found.kept_files, 'replaced file')} kept for {settings.grace_days:g} days ({size(found.kept_bytes)})"
    )
    if not found.files:
        yield Finding("leftovers", "ok", f"no file that nobody needs; {kept}")
        return
    hidden = "redacted" in reasons
    is_worth = hidden or "orphan" in reasons or found.size_bytes >= _MANY_BYTES
    seen = f"{counted(found.files, 'file')} that nobody needs ({', '.join(reasons)}; {size(found.size_bytes)})"
    yield Finding("leftovers", "fail" if hidden else "warn" if is_worth else "ok", seen, "run `refold vacuum`")
