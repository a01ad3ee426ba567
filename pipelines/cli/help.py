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
