"""What a line of the shell does: a statement is asked, a command with its backslash sets how, or tells what there is."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.console import explain, on_one_line, render_table, tell
from pipelines.errors import BadInputError
from pipelines.lake.catalog import describe
from pipelines.lake.views import list_macros
from pipelines.shell.asking import Asking, StoppedQueryError
from pipelines.shell.paging import show
from pipelines.shell.script import WORDS, Part, parts

COMMANDS = {
    "\\d [NAME]": "views, tables and macros; or the columns of one, with what they mean",
    "\\e": "edit the last statement in EDITOR; it comes back to be sent",
    "\\o FILE": "write the next result to FILE: .csv, .json, .parquet, or a table",
    "\\timing": "say how long each statement takes, or no longer",
    "\\x": "a line for each value, or a table again",
    "\\?": "this list",
    "\\q": "leave; Ctrl-D does too",
}
"""How each is called, and what it does."""
NAMES = tuple(each.split(" ")[0] for each in COMMANDS)
_FORMATS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_EDITOR = "vi"
_HINTS = (
    "A statement ends with ; and may have several lines. Tab completes, the arrows go through what was asked, Ctrl-C stops a",
    "query. CREATE TEMP TABLE, VIEW or MACRO keeps a result by a name until you leave.",
)


class LeftError(Exception):
    """Whoever asked leaves."""


@dataclass(slots=True)
class Shell:
    """What is set, and the connection.

    Attributes:
        asking: The connection.
        output_format: How results are printed.
        is_interactive: Whether an error keeps it going, and long results are paged.
        is_csv_safe: As `run_query` takes it.
        remark: Told each statement before it is asked.
        is_timed: Whether it says how long each statement takes.
        output: Where the next result goes, if not to the terminal.
        last: The last statement.
        edited: What comes back from the editor, to be sent.
    """

    asking: Asking
    output_format: str = "table"
    is_interactive: bool = True
    is_csv_safe: bool = False
    remark: Callable[[str], None] = lambda _: None
    is_timed: bool = False
    output: Path | None = None
    last: str = ""
    edited: str = ""

    def take(self, text: str) -> None:
        """Do all that a text says, in order; an error ends it, and is told where there is somebody to go on.

        Raises:
            LeftError: It says to leave.
            BadInputError: What it says cannot be done, and nobody is there to go on.
        """
        try:
            for part in parts(text):
                self._do(part)
        except LeftError:
            raise
        except KeyboardInterrupt:
            tell("refold: stopped")
        except Exception as error:
            if isinstance(error, StoppedQueryError) and not self.is_interactive:
                raise KeyboardInterrupt from error
            if not self.is_interactive:
                raise
            tell(f"refold: {explain(error)}")

    def _do(self, part: Part) -> None:
        word = WORDS.get(part.text.lower())
        if part.is_command or word:
            self._command(word or part.text)
            return
        if part.text.startswith("."):
            raise BadInputError(f"{part.text.split()[0]!r} is no command; they begin with a backslash: \\? lists them")
        self.last = part.text
        self.remark(part.text)
        started = time.monotonic()
        output, self.output = self.output, None
        if output is not None:
            chosen = _FORMATS.get(output.suffix.lower(), "table")
            self.asking.write(part.text, chosen, output, is_csv_safe=self.is_csv_safe)
        elif self.is_interactive:
            text = self.asking.text(part.text, self.output_format)
            if text:
                show(text)
        else:
            self.asking.write(part.text, self.output_format, None, is_csv_safe=self.is_csv_safe)
        if self.is_timed:
            tell(f"{(time.monotonic() - started) * 1000:,.0f} ms")

    def _command(self, line: str) -> None:
        name, _, rest = line.rstrip("; \t").partition(" ")
        given = rest.strip()
        if name not in NAMES:
            raise BadInputError(f"{name!r} is no command; \\? lists them")
        if given and name not in ("\\d", "\\o"):
            raise BadInputError(f"{name} takes nothing, and {given!r} was given")
        if name == "\\q":
            raise LeftError
        {
            "\\d": self._describe,
            "\\e": self._edit,
            "\\o": self._send,
            "\\timing": self._time,
            "\\x": self._turn,
            "\\?": self._help,
        }[name](given)

    def _describe(self, name: str) -> None:
        described = describe(self.asking.lake)
        if not name:
            rows = [[each, grain] for each, (grain, _) in described.items()]
            rows += [[each, "made here"] for each in self.asking.made()]
            macros = [[macro.signature, macro.gives] for macro in list_macros()]
            show(_blocks([(["relation", "one row is"], rows), (["macro", "gives"], macros)]))
            return
        plain = name.strip('"').lower()
        macro = next((each for each in list_macros() if plain in (each.name, each.signature)), None)
        if plain in described:
            grain, columns = described[plain]
            rows = [[column.name, column.type, column.description] for column in columns]
            show(f"{plain}: {on_one_line(grain)}\n" + render_table(["column", "type", "meaning"], rows))
        elif macro is not None:
            show(f"{macro.signature}: {macro.gives}")
        elif plain in map(str.lower, self.asking.made()):
            show(render_table(["column", "type"], self.asking.columns(plain)))
        else:
            raise BadInputError(f"there is no {name!r}; \\d lists what there is")

    def _edit(self, _given: str) -> None:
        if not self.is_interactive:
            raise BadInputError("\\e needs a terminal")
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
        with tempfile.TemporaryDirectory(prefix="refold-") as folder:
            path = Path(folder) / "statement.sql"
            path.write_text(f"{self.last};\n" if self.last else "", encoding="utf-8")
            try:
                done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - theirs
                self.edited = path.read_text(encoding="utf-8").strip() if done.returncode == 0 else ""
            except (OSError, ValueError) as error:
                raise BadInputError(f"EDITOR is {editor!r}, which cannot be run: {error}") from error

    def _send(self, name: str) -> None:
        self.output = Path(name).expanduser() if name else None
        if self.is_interactive:
            where = name or "the terminal"
            tell(f"the next result goes to {where}")

    def _time(self, _given: str) -> None:
        self.is_timed = not self.is_timed
        tell(f"timing is {'on' if self.is_timed else 'off'}")

    def _turn(self, _given: str) -> None:
        self.output_format = "table" if self.output_format == "lines" else "lines"
        tell("a line for each value" if self.output_format == "lines" else "a table")

    def _help(self, _given: str) -> None:
        show("\n".join([render_table(["", ""], list(COMMANDS.items())).lstrip("\n"), "", *_HINTS]))


def _blocks(tables: Sequence[tuple[list[str], list[list[str]]]]) -> str:
    return "\n\n".join(render_table(columns, rows) for columns, rows in tables)
