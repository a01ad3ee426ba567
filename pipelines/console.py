"""What a person or a program sees: results on stdout, progress and messages on stderr.

With `--json` a verb prints one JSON object on stdout and nothing else. Recorded text is hostile: what a terminal would act on,
or would show as something else, is written as its code, here and in no other place. Nothing here decides anything.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO
from unicodedata import combining, east_asian_width

from pipelines.errors import RefoldError
from pipelines.foreign import describe, find_cause

_SECONDS_BETWEEN = 0.5
_UNITS = ("B", "kB", "MB", "GB", "TB")
_BETWEEN = "  "
"""Stands between the columns of a table."""


# Unicode's categories Cc, Cf, Cs, Zl and Zp: control characters, formatting (direction of reading, zero width, tags), halves
# of pairs, separators of lines and paragraphs. The two joiners stay where scripts and emoji need them: between characters
# beyond ASCII.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
_BREAKS = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def printable(text: str) -> str:
    r"""Text with every character that is not seen as its code, as `\x1b` or `\u202e`; line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: _code(found[0]), text)


def on_one_line(text: str) -> str:
    """`printable`, with line ends and tabs as their codes too: for a text within a line that is not its own."""
    return printable(re.sub("[\t\n\r]", lambda found: _BREAKS[found[0]], text))


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return _BREAKS.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def to_json(value: Any) -> str:
    """A result as one line of JSON, in which every character that is not seen is escaped; it has no NaN."""
    return _escape_unseen(json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False))


def _escape_unseen(text: str) -> str:
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Everything that this process prints as text is printable: also what libraries say, and file names in errors."""
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Printable(sys.stdout, end_unread), _Printable(sys.stderr, lambda: None)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = former


def end_unread() -> None:
    """End quietly, as programs do whose reader has gone (`| head`), with the code of SIGPIPE.

    Raises:
        SystemExit: Always.
    """
    with Path(os.devnull).open("wb") as nowhere:  # what is still in buffers goes there when the process ends
        os.dup2(nowhere.fileno(), 1)
    raise SystemExit(128 + signal.SIGPIPE)


class _Printable:
    """A text stream that writes what is printable. Bytes pass by its `buffer`: they are a file's.

    Args:
        stream: What is written to.
        unread: What to do when nobody reads it any more.
    """

    def __init__(self, stream: TextIO, unread: Callable[[], None]) -> None:
        self._stream, self._unread = stream, unread

    def write(self, text: str) -> int:
        try:
            self._stream.write(printable(text))
        except BrokenPipeError:
            self._unread()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._unread()

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def to_plain(value: Any) -> Any:
    """A result as JSON values: data classes as objects, times as ISO 8601, bytes as hex, what is no number null, the rest as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: to_plain(item) for key, item in asdict(value).items()}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, bytes | datetime):
        return value.hex() if isinstance(value, bytes) else value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Print a verb's result: the object as JSON, or the text."""
    sys.stdout.write((to_json(result) if as_json else printable(text)) + "\n")


def print_long(result: Any, *, as_json: bool) -> None:
    """Print a result that may be long as JSON, for people indented: a text at a time, which are never there as one."""
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=None if as_json else 2)
    shown = _escape_unseen if as_json else printable
    for part in encoder.iterencode(to_plain(result)):
        sys.stdout.write(shown(part))
    sys.stdout.write("\n")


def tell(line: str) -> None:
    """One line of progress or of a message, on stderr."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def end(error: BaseException, *, is_debug: bool = False) -> int:
    """Say in one sentence what ended a verb, with `--json` as one object too; answer the exit code.

    Args:
        error: What the verb raised.
        is_debug: Whether its trace is shown as well.
    """
    if isinstance(error, SystemExit) and error.code != 130:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if is_debug:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):  # who reads the output has seen enough
        end_unread()
    cause = find_cause(error)
    if isinstance(cause, SystemExit | KeyboardInterrupt):
        name, message, code = KeyboardInterrupt.__name__, "stopped", 130
    else:
        name, message, code = type(cause).__name__, explain(cause), RefoldError.exit_code
        code = cause.exit_code if isinstance(cause, RefoldError) else code
    tell(f"refold: {message}")
    if "--json" in sys.argv:
        print_result({"error": name, "message": message}, "", as_json=True)
    return code


def explain(error: BaseException) -> str:
    """An error in one sentence, whoever raised it."""
    cause = find_cause(error)
    return str(cause) if isinstance(cause, RefoldError) else describe(cause)


class Ticker:
    """Progress of long work on stderr, at most twice a second: what, how many of how many, how fast, how much longer."""

    def __init__(self, what: str, write: Callable[[str], None] = tell) -> None:
        self._what, self._write = what, write
        self._started = self._last = 0.0
        self._done = -1

    def __call__(self, done: int, total: int | None = None) -> None:
        """Report that `done` are done so far, of `total` if it is known; fewer than before begin anew."""
        now = time.monotonic()
        if self._done < 0 or done < self._done:
            self._started = self._last = now
        self._done = done
        if now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            rate = done / (now - self._started)
            line = f"  {done:,} {self._what}, {rate:,.0f}/s"
            if total and rate:
                left = max(total - done, 0) / rate
                line = (
                    f"  {done:,} of {total:,} {self._what} ({done / total:.0%}), {rate:,.0f}/s, {duration(left)} left"
                )
            self._write(line)


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things as a person says it: `1 conversation`, `2,000 conversations`; `nouns` where an s does not make it."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A time span as a person says it: `12 s`, `3 min 05 s`, `2 h 07 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(number: int) -> str:
    """Bytes in the decimal unit that fits: `0 B`, `12.3 MB`."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    return f"{number / 1000**power:,.1f} {_UNITS[power]}" if power else f"{number} B"


def render_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, to_the_right: Collection[int] | None = None
) -> str:
    """Rows as a table that fits the terminal, and with one line each where it is piped; null as an empty cell.

    Args:
        columns: Names.
        rows: Values. Numbers are counts and are grouped by thousands: a number that names something is given as text.
        to_the_right: Indexes of the columns that are aligned to the right; None is those that hold numbers.
    """
    given = [tuple(row) for row in rows]
    if to_the_right is None:
        to_the_right = [index for index, _ in enumerate(columns) if any(_is_number(row[index]) for row in given)]
    cells = [list(map(on_one_line, columns)), *([on_one_line(_cell(value)) for value in row] for row in given)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - len(_BETWEEN) * (len(widths) - 1)
        widths = _narrowed(widths, room)
    lines = []
    for row in cells:
        for parts in zip_longest(*map(_folded, row, widths), fillvalue=""):
            aligned = [
                " " * (width - _width(part)) + part if index in to_the_right else part + " " * (width - _width(part))
                for index, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append(_BETWEEN.join(aligned).rstrip())
    return "\n".join(lines)


def _narrowed(widths: list[int], room: int) -> list[int]:
    """Widths that together take at most so many columns, if they can; the widest give way."""
    most = max((most for most in range(1, room + 1) if sum(min(width, most) for width in widths) <= room), default=1)
    wide = [index for index, width in enumerate(widths) if width > most]
    left = max(room - sum(min(width, most) for width in widths), 0)
    return [min(width, most + (index in wide[:left])) for index, width in enumerate(widths)]


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; Chinese letters and emoji take two, marks upon letters none."""
    if text.isascii():
        return len(text)
    return sum(1 + (east_asian_width(each) in "WF") for each in text if not combining(each))


def _folded(text: str, width: int) -> list[str]:
    """A text in lines of so many columns, broken between words where there are any."""
    lines, start, taken = [], 0, 0
    for place, each in enumerate(text):
        taken += _width(each)
        if taken > width and place > start:
            space = text.rfind(" ", start + 1, place + 1)
            end = space if space > start else place
            lines.append(text[start:end])
            start = end + (end == space)
            taken = _width(text[start : place + 1])
    return [*lines, text[start:]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, dict | list):
        return to_json(value)
    return str(to_plain(value))
