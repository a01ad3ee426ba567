"""What documents show, as a reader would have it: the files after copying them, the commands after typing them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_DOCS = ROOT / "docs"
_FILE = re.compile(r"^```(?:python|yaml|sql|json)\n(?:#|--) ([\w./-]+\.\w+).*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_QUERY = re.compile(r"^```sql\n-- (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"exit code (\d)")


def write_documented(document: str, folder: Path) -> list[str]:
    """Write the files of a document, whose first line is their name; gives the Python ones, without `.py`, in its order."""
    files = _FILE.findall((_DOCS / document).read_text(encoding="utf-8"))
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [Path(name).stem for name, _ in files if name.endswith(".py")]


def documented_queries(document: str) -> dict[str, str]:
    """The queries of a document, by the name in their first line, in its order."""
    return dict(_QUERY.findall((_DOCS / document).read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Documented:
    """A command as a document shows it.

    Attributes:
        page: The document, for example `docs/audit.md`.
        text: What is typed, without the comment behind it.
        code: The exit code that the comment promises; 0 where it promises none.
    """

    page: str
    text: str
    code: int


def documented_commands(page: str) -> list[Documented]:
    """The commands of the `sh` blocks of a page, and those behind `$ ` of its `console` blocks, in order."""
    found = []
    for kind, block in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        lines = block.splitlines()
        if kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [each for text in _whole(lines) if (each := _read(page, text)) is not None]
    return found


def shown_lines(page: str) -> list[str]:
    """What a page shows as printed: the lines of its blocks without a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for kind, block in blocks if not kind for line in block.splitlines() if line.strip()]


def documented_pages() -> list[str]:
    """README and the pages of `docs/` that show commands, in order."""
    pages = ["README.md", *(f"docs/{path.name}" for path in sorted(_DOCS.glob("*.md")))]
    return [page for page in pages if documented_commands(page)]


def _whole(lines: list[str]) -> list[str]:
    """Lines, those together that one command is spread over: a quotation goes on."""
    commands: list[str] = []
    held = ""
    for line in lines:
        held = f"{held}\n{line}" if held else line
        try:
            shlex.split(held, comments=True)
        except ValueError:
            continue
        commands.append(held)
        held = ""
    return commands


def _read(page: str, text: str) -> Documented | None:
    lexer = shlex.shlex(text, posix=False, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    at, kept = 0, len(text)
    for token in lexer:  # a comment begins where a word does
        at = text.index(token, at)
        if token.startswith("#"):
            kept = at
            break
        at += len(token)
    command, comment = text[:kept].strip(), text[kept:]
    if not command:
        return None
    promised = _CODE.search(comment)
    return Documented(page, command, int(promised[1]) if promised else 0)
