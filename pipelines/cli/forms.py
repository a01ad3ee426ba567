"""`refold import FORM`: the forms in which teams have their logs, one verb each, one's own importers among them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.follow import FOLLOW_OPTIONS, follow_folder, refuse_settle
from pipelines.cli.help import Verbs
from pipelines.cli.options import PATH, TIME, json_option, times_from_option, times_until_option
from pipelines.console import Ticker, counted, on_one_line, print_result, to_plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.ingest.assemble.accounting import Tally
    from pipelines.ingest.form_files import FormImport
    from pipelines.ingest.forms.form import Form

VERBS = {
    "otlp": "Import OpenTelemetry spans and logs, as a collector's files have them.",
    "langfuse": "Import Langfuse: traces as JSON, exports to blob storage, scores.",
    "langsmith": "Import LangSmith: runs as JSON, bulk exports, batch bodies.",
    "inspect": "Import Inspect logs (.eval, JSON) and transcripts of Scout.",
    "voice": "Import calls of ElevenLabs, Retell, Vapi and LiveKit.",
    "responses": "Import OpenAI Responses, and sessions and traces of its Agents SDK.",
    "anthropic": "Import Anthropic exchanges, batch results, and events of managed agents.",
    "litellm": "Import call logs of LiteLLM, from files or its database.",
    "claude-code": "Import sessions of Claude Code.",
    "codex": "Import sessions of Codex.",
    "atif": "Import ATIF trajectories.",
    "swe-agent": "Import trajectories of SWE-agent.",
    "openhands": "Import events of OpenHands.",
    "auto": "Tell the form of files by what is in them, and import them.",
}
"""Forms with a verb, and what it does."""
SHAPES = ("sharegpt", "hermes", "parts")
"""Shapes of datasets that `import chat` is told of."""
_FILES = click.argument(
    "files", type=PATH, nargs=-1, help="Files; .gz and pipes too; - is standard input. None with --follow."
)
_OF_LITELLM: tuple[Callable[[Any], Any], ...] = (
    click.argument(
        "files", type=PATH, nargs=-1, help="Files; .gz and pipes too; - is standard input. None with --dsn."
    ),
    click.option("--dsn", metavar="DSN", help="The proxy's database: import its table of calls instead of files."),
    click.option(
        "--table", default='"LiteLLM_SpendLogs"', metavar="NAME", help='That table (default: "LiteLLM_SpendLogs").'
    ),
    click.option("--since", type=TIME, help="Only sessions with a call from then on, UTC; these whole."),
)
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--source", help="Source of the conversations (default: what the form says)."),
    click.option(
        "--conversation-key", metavar="NAME", help="Field that names a conversation, before those of the form."
    ),
    click.option("--subject-key", metavar="NAME", help="Field that names the person it is about."),
    click.option("--to-lines", type=PATH, metavar="FILE", help="Write the run lines to this file, too."),
    click.option("--keep-raw", is_flag=True, help="Keep the files as they are, in REFOLD_HOME/raw."),
    click.option("--dry-run", is_flag=True, help="Say what the files hold; import nothing."),
    click.option("--at", type=TIME, help="Time of conversations that have none, UTC (default: now)."),
    times_from_option,
    times_until_option,
    click.option(
        "--skip-bad", type=PATH, metavar="FILE", help="Write bad lines with reasons to this file, import the rest."
    ),
    *FOLLOW_OPTIONS,
    json_option,
)


class Importers(Verbs):
    """The verbs of `refold import`, and one for each importer of one's own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the verbs, one's own importers last."""
        from pipelines.ingest.forms.form import own_importers

        shipped = super().list_commands(ctx)
        return [*shipped, *(name for name in own_importers(Settings.from_env().home) if name not in shipped)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of a name; a file in REFOLD_HOME/importers comes before a form that is shipped."""
        from pipelines.ingest.forms.form import own_importers

        own = own_importers(Settings.from_env().home)
        if cmd_name in own:
            return form_verb(cmd_name, f"Import by {own[cmd_name]}.")
        return super().get_command(ctx, cmd_name)


def form_verb(name: str, help_text: str) -> click.Command:
    """The verb that imports one form; `auto` tells the form first."""

    def run(**given: Any) -> None:
        _import(name, **given)

    for option in reversed((*(_OF_LITELLM if name == "litellm" else (_FILES,)), *_OPTIONS)):
        run = option(run)
    return click.command(name, help=help_text)(run)


def _import(name: str, files: tuple[Path, ...], **given: Any) -> None:
    from pipelines.ingest.forms.form import form_named
    from pipelines.ingest.forms.recognition import recognised

    settings = Settings.from_env()
    as_json = given.pop("as_json")
    folder, settle = given.pop("follow"), given.pop("settle")
    if folder is not None:
        follow_folder(settings, name, folder, settle, {**given, "files": files}, as_json=as_json)
        return
    refuse_settle(settle)
    table = {key: given.pop(key) for key in ("dsn", "table", "since") if key in given}
    if table and (form := _of_database(files, **table)) is not None:
        done = [_of_form(settings, form, (), **given)]
    elif not files:
        raise BadInputError("name files, or a folder with --follow")
    elif name != "auto":
        done = [_of_form(settings, form_named(name, settings.home), files, **given)]
    else:
        told = recognised(files, settings.home)
        if len(told) > 1 and given["to_lines"] is not None:
            raise BadInputError(f"--to-lines takes one form; these are {', '.join(form.name for form, _ in told)}")
        done = [_of_form(settings, form, paths, **given) for form, paths in told]
    results = [{**_told(each), "files": [str(path) for path in paths]} for each, paths in done]
    text = "\n\n".join(f"{_files(paths)}{_table(each)}" if name == "auto" else _table(each) for each, paths in done)
    print_result(results[0] if len(results) == 1 else {"forms": results}, text, as_json=as_json)


def _of_database(files: tuple[Path, ...], *, dsn: str | None, table: str, since: datetime | None) -> Form | None:
    """The form of LiteLLM's database, where that is asked for; None of files."""
    if dsn is None and not files:
        raise BadInputError("name files of call logs, or the proxy's database with --dsn")
    if dsn is None:
        if since is not None:
            raise BadInputError("--since is of a database; files are read whole")
        return None
    if files:
        raise BadInputError(f"--dsn reads the database and no files, such as {files[0]}; import these by themselves")
    from pipelines.ingest.forms.stores.spend_logs import SpendLogs

    return SpendLogs(dsn, table, since)


def import_dataset(files: tuple[Path, ...], shape: str, given: dict[str, Any], *, as_json: bool) -> None:
    """Import datasets of one shape, as `refold import chat --shape` does."""
    from pipelines.ingest.forms.dataset import Dataset

    asked = {"conversation_key": None, "subject_key": None, "to_lines": None, "keep_raw": False, "dry_run": False}
    done, _ = _of_form(Settings.from_env(), Dataset(shape), files, **{**asked, **given})
    print_result(_told(done), _table(done), as_json=as_json)


def _of_form(
    settings: Settings,
    form: Form,
    files: tuple[Path, ...],
    *,
    source: str | None,
    conversation_key: str | None,
    subject_key: str | None,
    to_lines: Path | None,
    keep_raw: bool,
    dry_run: bool,
    at: datetime | None,
    times_from: datetime | None,
    times_until: datetime | None,
    skip_bad: Path | None,
) -> tuple[FormImport, tuple[Path, ...]]:
    from pipelines.home import changing_store
    from pipelines.ingest.clock import Days
    from pipelines.ingest.form_files import import_form
    from pipelines.ingest.forms.form import Options
    from pipelines.ingest.reading.room import Room
    from pipelines.lake.memory import resident_bytes

    room = Room(settings.memory_bytes, resident_bytes())

    def done(store: Any) -> FormImport:
        return import_form(
            store,
            form,
            files,
            Options(source, conversation_key, subject_key, room.limit, room.taken),
            home=settings.home,
            to_lines=to_lines,
            keep_raw=keep_raw,
            at=at,
            days=Days.given(times_from, times_until, datetime.now(UTC)),
            skip_bad=skip_bad,
            room=room,
            progress=Ticker("conversations"),
        )

    if dry_run:
        return done(None), files
    with changing_store(settings) as store:
        return done(store), files


def _told(done: FormImport) -> dict[str, Any]:
    """The result as one JSON object."""
    told: dict[str, Any] = {"form": done.read.form, **done.read.tally.as_json()}
    if done.result is not None:
        told["imported"] = to_plain(done.result)
    if done.raw:
        told["raw"] = [str(path) for path in done.raw]
    return told


def _files(paths: tuple[Path, ...]) -> str:
    names = ", ".join(str(path) for path in paths[:3])
    return f"{names}{f' and {len(paths) - 3:,} more' if len(paths) > 3 else ''}\n"


def _table(done: FormImport) -> str:
    """What the files hold, where every leaf went, and what was imported."""
    tally = done.read.tally
    history = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.histories.items()))
    rows = [
        ("form", done.read.form),
        ("conversations", f"{tally.conversations:,}" + _when(tally.nameless, "{:,} without an id of their own")),
        ("streams", f"{tally.streams:,}"),
        ("model calls", f"{tally.model_calls:,}" + (f": {history}" if history else "")),
        ("wrapper calls", f"{tally.wrapper_calls:,}"),
        ("messages", f"{tally.system:,} system, {tally.user:,} user, {tally.agent_text:,} of the agent"),
        ("tool calls", f"{tally.tool_calls:,}" + _when(tally.open_tool_calls, "{:,} without a result")),
        ("tool results", f"{tally.tool_results:,}" + _when(tally.span_results, "{:,} more that only a span says")),
        ("tokens", f"{tally.input_tokens:,} in, {tally.output_tokens:,} out"),
        ("models", ", ".join(map(on_one_line, sorted(tally.models))) or "none named"),
        ("leaves", f"{tally.mapped:,} mapped, {tally.kept:,} kept, {tally.repeated:,} repeated"),
    ]
    if tally.duplicates:
        rows.append(("duplicates", f"{tally.duplicates:,} records came again, and were dropped"))
    lines = [f"{name:<15}{value}" for name, value in rows]
    return "\n".join([*lines, *_remarks(tally), *_imported(done)])


def _when(count: int, text: str) -> str:
    return f", {text.format(count)}" if count else ""


def _remarks(tally: Tally) -> list[str]:
    if not tally.contentless:
        return []
    how = "; to record it, " + ", or ".join(sorted(tally.switches)) if tally.switches else ""
    return [f"{counted(tally.contentless, 'model call')} without content: what was said was not recorded{how}"]


def _imported(done: FormImport) -> list[str]:
    result = done.result
    if result is None:
        return ["nothing was imported (--dry-run)"]
    lines = [
        f"{counted(result.conversations, 'stream')}, {counted(result.events, 'event')} appended"
        + (f" in months {result.months[0]} to {result.months[-1]}" if result.months else "")
    ]
    if result.grown:
        lines.append(f"gone on since they were imported: {counted(result.grown, 'stream')}")
    if result.grown:
        lines.append(f"went on, and got the rest: {counted(result.grown, 'stream')}")
    if result.already_present:
        lines.append(f"there already and unchanged: {counted(result.already_present, 'stream')}")
    if result.erased:
        lines.append(f"erased, and left out: {counted(result.erased, 'stream')}")
    if result.skipped:
        lines.append(f"{counted(result.skipped, 'bad line')} skipped")
    return [*lines, *(f"kept as {path}" for path in done.raw)]
