"""`refold`, the command line: thin. Every verb calls one library function and prints what it returns.

`entry` puts the verbs together; a module of its own holds those that belong together. Verbs that run assets import Dagster when
there is work for it, and every verb imports what it uses when it is called: `--help` and `sql` stay fast.
"""

from pipelines.cli.entry import app, main, run

__all__ = ["app", "main", "run"]
