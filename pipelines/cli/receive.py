"""`refold receive`: an address for exporters of OpenTelemetry."""

from __future__ import annotations

import click

from pipelines.console import tell
from pipelines.errors import BadInputError
from pipelines.settings import Settings, parse_size, read_receive_token

_PORT = 4318
"""OTLP/HTTP's own."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others take a token.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="Port; 0 is any that is free."
)
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds between two imports."
)
@click.option(
    "--quiet",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="Seconds without anything new after which a conversation is imported.",
)
@click.option(
    "--open",
    "open_seconds",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    help="The same while a span is missing that others name.",
)
@click.option("--max-body", default="64MB", show_default=True, metavar="SIZE", help="Largest body, unpacked.")
@click.option("--source", help="Source of the conversations (default: otel/SERVICE).")
@click.option("--conversation-key", metavar="NAME", help="Attribute that names a conversation, before those known.")
@click.option("--subject-key", metavar="NAME", help="Attribute that names the person it is about.")
def receive(
    host: str,
    port: int,
    every: float,
    quiet: float,
    open_seconds: float,
    max_body: str,
    source: str | None,
    conversation_key: str | None,
    subject_key: str | None,
) -> None:
    """Receive OpenTelemetry spans and logs over HTTP, and import them.

    Exporters take the address that is printed as OTEL_EXPORTER_OTLP_ENDPOINT. What was answered is kept in REFOLD_HOME/received.
    Other addresses than this machine's own take REFOLD_RECEIVE_TOKEN, which exporters send as a bearer token.
    """
    from pipelines.home import changing_store
    from pipelines.ingest.forms.form import Options
    from pipelines.ingest.reading.lines import MAX_LINE_BYTES
    from pipelines.lake.memory import resident_bytes
    from pipelines.receive.folder import Folder
    from pipelines.receive.rounds import Rounds
    from pipelines.receive.server import check_token
    from pipelines.receive.server import receive as run
    from pipelines.receive.traces import Traces, Waits
    from pipelines.web.server import listen

    settings = Settings.from_env()
    token = read_receive_token()
    check_token(host, token)
    most_bytes = parse_size("--max-body", max_body)
    if not 0 < most_bytes <= MAX_LINE_BYTES:
        raise BadInputError(f"--max-body is {max_body!r}; it can be up to {MAX_LINE_BYTES:,} bytes")
    options = Options(source, conversation_key, subject_key, settings.memory_bytes, resident_bytes())
    with listen(port, port, host) as listener:
        rounds = Rounds(
            Folder(settings.home),
            Traces(),
            settings.home,
            lambda: changing_store(settings),
            options,
            Waits(quiet, max(quiet, open_seconds)),
            settings.grace_days,
            tell,
        )
        run(rounds, listener, host, token, every=every, most_bytes=most_bytes)
