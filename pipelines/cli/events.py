"""Verbs of `refold` that are about events before they are stored: the registry, and another database's events table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Ticker, counted, print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings

TimesFrom = Annotated[
    datetime | None,
    typer.Option(
        metavar="DATE", formats=["%Y-%m-%d"], help="Believe recorded times from this day on, UTC (default: 2000-01-01)."
    ),
]
TimesUntil = Annotated[
    datetime | None,
    typer.Option(
        metavar="DATE",
        formats=["%Y-%m-%d"],
        help="Believe recorded times until this day, UTC (default: a year from now).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

_SHOWN = 20
"""Rows set aside that are printed; the report has more."""
events = typer.Typer(no_args_is_help=True, help="The registry of event types.")


def import_postgres(
    dsn: Annotated[
        str, typer.Option(help="The source's connection string; leave the password to ~/.pgpass or PGPASSWORD.")
    ],
    table: Annotated[str, typer.Option(help="Its events table, name or schema.name.")],
    source: Annotated[str | None, typer.Option(help="Name of the source (default: postgres/SCHEMA.TABLE).")] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Register unknown event types with a schema that takes any object.")
    ] = False,
    times_from: TimesFrom = None,
    times_until: TimesUntil = None,
    as_json: Json = False,
) -> None:
    """Import an events table (id, aggregate_id, aggregate_type, event_type, event_version, payload, created_at)."""
    from pipelines.home import changing_store
    from pipelines.ingest.clock import Days
    from pipelines.ingest.postgres import import_postgres
    from pipelines.ingest.set_aside import write_report

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
        raise typer.Exit(CheckFailedError.exit_code)


@events.command("list")
def list_types(as_json: Json = False) -> None:
    """List the registered event types."""
    from pipelines.ingest.event_types import list_types
    from pipelines.store import Store

    with Store.open(Settings.from_env()) as store:
        types = list_types(store)
    rows = [[each.event_type, each.schema_sha256[:12], each.description] for each in types]
    print_result({"event_types": types}, render_table(["event type", "schema", "description"], rows), as_json=as_json)


@events.command("show")
def show_type(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="noun.verb.vN")], as_json: Json = False
) -> None:
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
def register_type(
    file: Annotated[Path, typer.Argument(help="JSON: {event_type, description, schema}.", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Register an event type; a changed schema is refused, register the next version."""
    from pipelines.ingest.event_types import register_file
    from pipelines.store import Store

    with Store.open(Settings.from_env()) as store:
        registered, is_new = register_file(store, file)
    text = f"{'registered' if is_new else 'was registered already:'} {registered.event_type}, schema {registered.schema_sha256}"
    print_result({"is_new": is_new, **to_plain(registered)}, text, as_json=as_json)


@events.command("upcast")
def check_upcasters(
    event_type: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="noun.verb; default: every type that has upcasters.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Try the upcasters; nothing is ever rewritten.")] = False,
    as_json: Json = False,
) -> None:
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
        raise typer.Exit(CheckFailedError.exit_code)
