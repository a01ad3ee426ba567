"""`refold import … --follow FOLDER`: one pass over a folder, which imports what is new in it or has grown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import FOLDER
from pipelines.console import counted, on_one_line, print_result
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.ingest.follow.passing import Pass

_SHOWN = 20
"""Files of a kind that are printed; `--json` has all."""
_TAKEN = ("source", "conversation_key", "subject_key", "keep_raw", "at", "times_from", "times_until", "shape")
"""Options that a pass takes as an import does."""
FOLLOW_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--follow",
        type=FOLDER,
        metavar="FOLDER",
        help="Instead of files: those of this folder that are new or have grown; one pass.",
    ),
    click.option(
        "--settle",
        type=click.FloatRange(min=0, max=86_400),
        metavar="SECONDS",
        help="With --follow: how long a file must have been left alone (default: 30).",
    ),
)


def refuse_settle(settle: float | None) -> None:
    """Refuse seconds without a folder.

    Raises:
        BadInputError: They are given.
    """
    if settle is not None:
        raise BadInputError("--settle goes with --follow; files that are named are read as they are")


def follow_folder(
    settings: Settings, form: str, folder: Path, settle: float | None, given: dict[str, Any], *, as_json: bool
) -> None:
    """Make one pass and print what it came to.

    Args:
        settings: Where to.
        form: Name of a form, `chat` or `auto`.
        folder: The folder.
        settle: Seconds for which a file must have been left alone; None is the default.
        given: The other options and arguments of the import.
        as_json: Whether one JSON object is printed.

    Raises:
        BadInputError: An option or argument does not go with a folder.
        click.exceptions.Exit: A file was refused, which is printed; all others are imported.
    """
    wrong = [name for name, value in given.items() if value and name not in (*_TAKEN, "dry_run", "table")]
    if wrong:
        what = "files" if wrong[0] == "files" else f"--{wrong[0].replace('_', '-')}"
        raise BadInputError(f"--follow takes the files of a folder, and no {what}; leave one of them out")
    from pipelines.home import changing_store
    from pipelines.ingest.follow.folder import SETTLE_SECONDS
    from pipelines.ingest.follow.passing import Followed, follow
    from pipelines.ingest.reading.room import Room
    from pipelines.lake.memory import resident_bytes

    asked = {name: given[name] for name in _TAKEN if name in given}
    followed = Followed(form, folder, **asked, settle=SETTLE_SECONDS if settle is None else settle)
    room = Room(settings.memory_bytes, resident_bytes())
    if given.get("dry_run"):
        done = follow(None, followed, home=settings.home, room=room)
    else:
        with changing_store(settings) as store:
            done = follow(store, followed, home=settings.home, room=room)
    print_result(done, describe(done, is_dry=bool(given.get("dry_run"))), as_json=as_json)
    if done.refused:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def describe(done: Pass, *, is_dry: bool = False) -> str:
    """What a pass came to, for a terminal."""
    read = f"{len(done.new):,} new, {len(done.grown):,} grown, {done.unchanged:,} unchanged"
    lines = [
        f"{read}; {len(done.waiting):,} waiting, {len(done.refused):,} refused",
        *_named(dict.fromkeys([*done.new, *done.grown], ""), "would be read" if is_dry else "imported"),
        *_named(done.waiting, "waits for the next pass"),
        *_named(done.refused, "refused, until it changes"),
        *_named(done.passed_over, "passed over"),
    ]
    if is_dry:
        return "\n".join([*lines, "nothing was imported (--dry-run)"])
    lines.append(f"{counted(done.conversations, 'stream')}, {counted(done.events, 'event')} appended")
    for count, what in (
        (done.went_on, "gone on since they were imported"),
        (done.already_present, "there already and unchanged"),
        (done.erased, "erased, and left out"),
    ):
        if count:
            lines.append(f"{what}: {counted(count, 'stream')}")
    return "\n".join(lines)


def _named(files: dict[str, str], what: str) -> list[str]:
    shown = [
        f"{what}: {on_one_line(name)}" + (f": {on_one_line(why)}" if why else "")
        for name, why in list(files.items())[:_SHOWN]
    ]
    return shown if len(files) <= _SHOWN else [*shown, f"{what}: {len(files) - _SHOWN:,} more"]
