"""`refold --help`: the verbs in the order in which they are used, in groups; and `--version`."""

from __future__ import annotations

from typing import Any

import click

GROUPS = {
    "Begin": ("demo", "import", "receive", "export", "fold"),
    "Ask": ("sql", "state", "lines"),
    "Compare": ("ab", "review", "report", "diffs", "replan", "tools"),
    "Audit": ("find", "show", "audit"),
    "Prove": ("seal", "unseal", "verify", "checkpoint"),
    "Forget": ("redact", "erase", "hold"),
    "Look after": ("ui", "dashboard", "doctor", "db", "events", "storage", "vacuum"),
}

EXAMPLES = {
    "demo": ("refold demo",),
    "import": ("refold import auto traces/*.jsonl.gz --dry-run",),
    "import chat": (
        "refold import chat conversations.jsonl.gz",
        "refold import chat --follow chats    # what is new and what has grown",
    ),
    "export": ("refold export", "refold export --month 2026-05"),
    "fold": ("refold fold", "refold fold --check .refold/folds/refunds_per_day.sql"),
    "sql": (
        "refold sql --tables",
        'refold sql "SELECT name, count(*) FROM tool_calls GROUP BY name"',
        "refold sql \"SELECT arg(tool_calls, 'refund_order', 'amount_usd') AS usd FROM conversations WHERE usd IS NOT NULL\"",
        'refold sql --format lines "FROM conversations LIMIT 1"',
        'refold sql --at 2026-05-15 "SELECT status, count(*) FROM conversations GROUP BY status"',
        'refold sql "FROM decisions" --format parquet -o decisions.parquet',
    ),
    "state": ("refold state shop/c-4711", "refold state shop/c-4711 --at 2026-05-15"),
    "lines": ("refold lines -o all.jsonl.gz",),
    "ab": (
        "refold ab --init experiment.yaml    # a file to begin with",
        "refold ab experiment.yaml --dry-run    # what is wrong with it, what it would ask, and what that costs",
        "refold ab experiment.yaml",
    ),
    "review": ("refold review capped-refunds", "refold review capped-refunds --summary"),
    "report": ("refold report capped-refunds -o report.html",),
    "diffs": ("refold diffs capped-refunds",),
    "replan": ("refold replan shop/c-4711 --decision 3 --candidate experiment.yaml",),
    "tools": ("refold tools suggest -o tools.yaml",),
    "find": ('refold find "Grace Hopper"', "refold find --field order_id=A-1"),
    "show": ("refold show shop/c-4711", "refold show shop/c-4711 --decision 3 --html decision.html"),
    "audit": ('refold audit shop/c-4711 --reason "ticket 4711" -o evidence',),
    "seal": ("refold seal 2026-05",),
    "verify": ("refold verify", "refold verify --month 2026-05 --deep"),
    "redact": ('refold redact --detector email --everywhere --reason "policy 3" --dry-run',),
    "erase": ('refold erase --customer customer-7 --reason "ticket 4711" --dry-run',),
    "events": ("refold events list",),
    "storage": ("refold storage",),
    "doctor": ("refold doctor",),
    "vacuum": ("refold vacuum --dry-run",),
}
"""What a verb's `--help` ends with: commands to begin with, each of which a test runs."""


def teach(group: click.Group) -> None:
    """Give the verbs their examples.

    Args:
        group: The verbs put together.
    """
    for path, commands in EXAMPLES.items():
        command: click.Command = group
        for name in path.split():
            assert isinstance(command, click.Group)
            command = command.commands[name]
        command.epilog = "\b\n" + "\n".join(("Examples:", *(f"  {each}" for each in commands)))


class Verbs(click.Group):
    """Lists its verbs in the order in which they were added."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names of the verbs."""
        return list(self.commands)


class GroupedVerbs(Verbs):
    """Lists its verbs by `GROUPS`; one that is in none of them comes last."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, each with what it does, under the names of their groups."""
        named = [name for names in GROUPS.values() for name in names]
        others = tuple(name for name in self.commands if name not in named)
        for title, names in {**GROUPS, "Other": others}.items():
            rows = [(name, self.commands[name].get_short_help_str(200)) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def print_version(context: click.Context, _option: Any, is_wanted: bool) -> None:
    """Print the version and end, for the option `--version`."""
    if is_wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"refold {version('refold')}")
        except PackageNotFoundError:
            click.echo("refold, not installed")
        context.exit()
