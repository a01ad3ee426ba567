"""Verb `refold find`: where something stands in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipelines.cli.options import COUNT, json_option
from pipelines.console import counted, print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.evidence.find import Found


@click.command()
@click.argument("text", required=False, help="A text that stands in a value; names of members are no values.")
@click.option("--ignore-case", is_flag=True, help="TEXT in any case of letters.")
@click.option(
    "--field",
    metavar="NAME=VALUE",
    help="A member NAME whose value is VALUE, anywhere; numbers by what they are worth.",
)
@click.option("--tool", metavar="NAME", help="Calls of this tool.")
@click.option("--where", metavar="SQL", help="With --tool: only those; SQL over the columns of tool_calls.")
@click.option(
    "--customer", metavar="ID", help="About this person (subject_id): alone their streams, or only hits there."
)
@click.option("--limit", type=COUNT, default=20, show_default=True, help="Places to show; all are counted.")
@json_option
def find(
    text: str | None,
    ignore_case: bool,
    field: str | None,
    tool: str | None,
    where: str | None,
    customer: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find where something stands: stream, version, time, and the decision that caused it; what is redacted is not found."""
    from pipelines.evidence.find import Question
    from pipelines.evidence.find import find as find_places
    from pipelines.home import tell_behind
    from pipelines.lake.lake import Lake

    question = Question(text, ignore_case, None if field is None else _member(field), tool, where, customer)
    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    tell_behind(settings, tell, lake)
    found = find_places(lake, question, limit)
    print_result(to_plain(found), _tell(found), as_json=as_json)


def _member(field: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    if not equals:
        raise BadInputError(f"--field is {field!r}; write NAME=VALUE, for example order_id=A-1")
    return name, value


def _tell(found: Found) -> str:
    withheld = (
        f"{counted(found.withheld, 'event')} not searched: a redaction waits for its fold; run `refold fold`"
        if found.withheld
        else ""
    )
    if not found.places:
        return "\n".join(line for line in ("nothing found", withheld) if line)
    rows = [
        [
            f"{hit.at:%Y-%m-%d %H:%M:%S}",
            f"{hit.name}@{hit.version}",
            hit.kind,
            hit.path,
            hit.text,
            None if hit.decision is None else f"{hit.decision} (@{hit.decision_version})",
        ]
        for hit in found.hits
    ]
    summary = (
        f"{counted(found.places, 'place')} in {counted(found.events, 'event')} of {counted(found.streams, 'stream')}"
    )
    if len(found.hits) < found.places:
        summary += f"; the first {len(found.hits):,} are shown, --limit shows more"
    table = render_table(["when, UTC", "stream@version", "event", "where", "found", "decision"], rows)
    return "\n".join(line for line in (table, summary, withheld) if line)
