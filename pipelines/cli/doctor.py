"""Verb `refold doctor`: is everything well, and what to do where it is not."""

from __future__ import annotations

import click

from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table
from pipelines.errors import CheckFailedError
from pipelines.settings import Settings


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look at store, lake, disk, keys, files, packages and clocks; say what is wrong and what to do.

    Changes nothing; an embedded server is started for it where it is not up. Ends with exit code 3 where something failed; what is
    only worth a warning ends with 0.
    """
    from pipelines.doctor.examine import examine

    diagnosis = examine(Settings.from_env())
    rows = [[each.state, each.check, each.seen] for each in diagnosis.findings]
    todo = [f"{each.check}: {each.todo}" for each in diagnosis.findings if each.todo is not None]
    text = render_table(["", "what", f"home {diagnosis.home}"], rows)
    if todo:
        text = "\n".join([text, "", "what to do", *todo])
    print_result(diagnosis, text, as_json=as_json)
    if diagnosis.state == "fail":
        raise click.exceptions.Exit(CheckFailedError.exit_code)
