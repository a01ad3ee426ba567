"""Verbs of `refold` that are about events before they are stored: the registry, and another database's events table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from pipelines.cli.help import Verbs
from pipelines.cli.options import FILE_THERE, json_option, times_from_option, times_until_option
from pipelines.console import Ticker, counted, print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings

_SHOWN = 20
"""Rows set aside that are printed; the report has more."""
events = Verbs("events", help="The registry of event types.")


@click.command()
@click.option(
    "--dsn", required=True, help="The source's connection string; leave the password to ~/.pgpass or PGPASSWORD."
)
@click.option("--table", required=True, help="Its events table, name or schema.name.")
@click.option("--source", help="Name of the source (default: postgres/SCHEMA.TABLE).")
@click.option("--register", is_flag=True, help="Register unknown event types with a schema that takes any object.")
@times_from_option
@times_until_option
@json_option
def import_postgres(
    dsn: str,
    table: str,
    source: str | None,
    register: bool,
    times_from: datetime | None,
    times_until: datetime | None,
    as_json: bool,
) -> None:
    """Import an events table (id, aggregate_id, aggregate_type, event_type, event_version, payload, created_at)."""
    from pipelines.home import changing_store
    from pipelines.ingest.clock import Days
    from pipelines.ingest.postgres.importing import import_postgres
    from pipelines.ingest.postgres.set_aside import write_report

    settings = Settings.from_env()
    days = Days.given(times_from, times_until, datetime.now(UTC))
    with changing_store(settings) as store:
        result = import_postgres(
            store, dsn, table, source=source, register=register, days=days, progress=Ticker("rows")
        )
    lines = [
        f"{result.events:,} of {counted(result.rows, 'row')} appended, to {counted(result.streams, 'stream')}"
        if result.events
        else f"nothing to append: the store has {result.already_present:,} of {result.rows:,} rows, unchanged",
        f"there already and unchanged: {counted(result.already_present, 'row')}"
        if result.events and result.already_present
        else "",
        f"erased, and left out: {counted(result.erased, 'row')}" if result.erased else "",
        f"imported from rows that are gone: {counted(result.gone, 'event')}, which stay" if result.gone else "",
        f"registered {', '.join(result.registered)}" if result.registered else "",
    ]
    report = write_report(settings.home, result)
    if report is not None:
        named = [[each.aggregate_id, each.row, each.reason, each.remedy] for each in result.set_aside[:_SHOWN]]
        lines += [
            f"{result.set_aside_count:,} rows were set aside, the others were not held back; they are in {report}",
            render_table(["stream", "row", "why", "what to do"], named),
        ]
    print_result({**to_plain(result), "report": report}, "\n".join(line for line in lines if line), as_json=as_json)
    if report is not None:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


@events.command("list")
@json_option
def list_types(as_json: bool) -> None:
    """List the registered event types."""
    from pipelines.ingest.event_types import list_types
    from pipelines.store import Store

    with Store.open(Settings.from_env()) as store:
        types = list_types(store)
    rows = [[each.event_type, each.schema_sha256[:12], each.description] for each in types]
    print_result({"event_types": types}, render_table(["event type", "schema", "description"], rows), as_json=as_json)


@events.command("show")
@click.argument("event_type", metavar="TYPE", help="noun.verb.vN")
@json_option
def show_type(event_type: str, as_json: bool) -> None:
    """Show one event type: what it means, its schema, its personal fields."""
    from pipelines.ingest.event_types import show_type
    from pipelines.store import Store

    with Store.open(Settings.from_env()) as store:
        shown = show_type(store, event_type)
    text = "\n".join(
        [
            f"{shown.event_type}: {shown.description}",
            f"registered {shown.registered_at:%Y-%m-%d %H:%M} UTC, schema {shown.schema_sha256}",
            f"personal: {', '.join(shown.personal) or 'none'}",
            json.dumps(shown.schema, ensure_ascii=False, indent=2),
        ]
    )
    print_result(shown, text, as_json=as_json)


@events.command("register")
@click.argument(
    "file",
    type=FILE_THERE,
    help="JSON: {event_type, description, schema}.",
)
@json_option
def register_type(file: Path, as_json: bool) -> None:
    """Register an event type; a changed schema is refused, register the next version."""
    from pipelines.ingest.event_types import register_file
    from pipelines.store import Store

    with Store.open(Settings.from_env()) as store:
        registered, is_new = register_file(store, file)
    text = f"{'registered' if is_new else 'was registered already:'} {registered.event_type}, schema {registered.schema_sha256}"
    print_result({"is_new": is_new, **to_plain(registered)}, text, as_json=as_json)


@events.command("upcast")
@click.argument(
    "event_type", required=False, metavar="[TYPE]", help="noun.verb; default: every type that has upcasters."
)
@click.option("--check", is_flag=True, help="Try the upcasters; nothing is ever rewritten.")
@json_option
def check_upcasters(event_type: str | None, check: bool, as_json: bool) -> None:
    """Try the upcasters on every stored payload, and hold what comes out to the newest registered schema.

    Upcasters are sql/upcasters/TYPE.vN.sql, and for types of your own REFOLD_HOME/upcasters/TYPE.vN.sql: one expression over
    the column payload. Ends with 3 when a payload fails.
    """
    from pipelines.folds.upcast_check import check_upcasters, types_to_lift
    from pipelines.home import tell_empty
    from pipelines.ingest.event_types import registry_of
    from pipelines.lake.lake import Lake
    from pipelines.store import Store

    if not check:
        raise BadInputError("events are never rewritten; `refold events upcast --check` tries the upcasters")
    settings = Settings.from_env()
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    upcasters, names = types_to_lift(lake, event_type)
    with Store.open(settings) as store:
        registry = registry_of(store, [f"{name}.v{upcasters.latest[name]}" for name in names])
    found = check_upcasters(lake, upcasters, names, registry, Ticker("payloads"))
    rows = [[t, to, found.events.get(t, 0), found.failed.get(t, 0)] for t, to in found.lifted.items()]
    lines = [render_table(["recorded", "lifted to", "payloads", "failed"], rows)]
    lines += [f"{found.redacted:,} of them were tried with redactions applied, too"] if found.redacted else []
    told = [[str(f.position), f.aggregate_id, str(f.stream_version), f.event_type, f.reason] for f in found.failures]
    lines += [render_table(["position", "stream", "version", "type", ""], told)] if told else []
    print_result(found, "\n".join(lines), as_json=as_json)
    if found.failed:
        raise click.exceptions.Exit(CheckFailedError.exit_code)
