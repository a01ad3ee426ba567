"""Every verb with its options as a page: `python -m pipelines.cli.reference > docs/cli.md`, which a test holds to what is made."""

from __future__ import annotations

import inspect

import click

from pipelines.cli.help import EXAMPLES, GROUPS

_HEAD = """# Every verb

Written by `python -m pipelines.cli.reference`, of what `refold VERB --help` says. Exit codes: 0 done, 1 failed, 2 bad usage or bad
input, 3 a check found a difference or a gate failed, 4 what was begun goes on elsewhere and is not complete yet. Completion of verbs and
options for a shell: [Settings](settings.md#completion).
"""


def render_reference(group: click.Group) -> str:
    """The page: each verb with its usage, what it does and its options, in the order of `refold --help`.

    Args:
        group: The verbs put together.
    """
    parts = [_HEAD]
    for title, names in GROUPS.items():
        verbs = [_section(group.commands[name], f"refold {name}") for name in names if name in group.commands]
        parts += [f"\n## {title}\n", *verbs]
    return "".join(parts)


def _section(command: click.Command, path: str) -> str:
    """One verb, and those below it."""
    context = click.Context(command, info_name=path)
    below = command.commands.items() if isinstance(command, click.Group) else ()
    lines = [f"\n### {path}\n", inspect.cleandoc(command.help or "").replace("\b\n", "")]
    if not below:
        usage = " ".join(piece for piece in command.collect_usage_pieces(context))
        options = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
        rows = [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in options if name != "--help"]
        lines += [f"\n`{path} {usage}`\n", "| | |\n|---|---|", *rows]
    if path.removeprefix("refold ") in EXAMPLES:
        lines += ["\n```sh", *EXAMPLES[path.removeprefix("refold ")], "```"]
    return "\n".join(lines).rstrip() + "\n" + "".join(_section(each, f"{path} {name}") for name, each in below)


def _cell(text: str) -> str:
    """A text that is one cell of a table, and no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    from pipelines.cli.entry import app

    click.echo(render_reference(app), nl=False)
