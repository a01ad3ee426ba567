"""The shell at a terminal: lines that are edited, coloured, completed and remembered."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import split_lines
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import Output
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style

from pipelines.console import on_one_line, tell
from pipelines.shell.completion import Words
from pipelines.shell.script import is_command, is_whole, tokens
from pipelines.shell.shell import LeftError, Shell

_PROMPT, _GOES_ON = "refold> ", "   ...> "
_MOST_MEANING = 80
_KINDS = {
    "keyword": "class:keyword",
    "string_const": "class:text",
    "numeric_const": "class:number",
    "comment": "class:comment",
}
_STYLE = Style.from_dict(
    {"keyword": "ansiblue bold", "text": "ansigreen", "number": "ansicyan", "comment": "ansibrightblack italic"}
)


def run_shell(
    shell: Shell, history: Path, *, terminal: Input | None = None, output: Output | None = None, greeting: str = ""
) -> None:
    """Read and do lines until whoever types them leaves.

    Args:
        shell: What does them.
        history: File in which what was asked is kept; its folder is not made.
        terminal: Where keys come from; default: the process's terminal.
        output: Where the lines are shown; default: the process's terminal.
        greeting: The first line.
    """
    session: PromptSession[str] = PromptSession(
        message=_PROMPT,
        prompt_continuation=lambda _width, _number, _wraps: _GOES_ON,
        multiline=Condition(lambda: not is_whole(session.default_buffer.text)),
        lexer=_Coloured(),
        completer=_Completing(Words(shell.asking)),
        complete_while_typing=True,
        auto_suggest=AutoSuggestFromHistory(),
        history=open_history(history),
        style=_STYLE,
        input=terminal,
        output=output or create_output(sys.__stdout__),
    )
    if greeting:
        tell(greeting)
    while True:
        try:
            edited, shell.edited = shell.edited, ""
            shell.take(session.prompt(default=edited))
        except KeyboardInterrupt:
            continue
        except (EOFError, LeftError):
            return


def open_history(path: Path) -> History:
    """What was asked before, in a file that only this account may read; where that cannot be, what is asked now."""
    if not path.parent.is_dir():
        return InMemoryHistory()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with suppress(OSError):
            os.fchmod(handle, 0o600)
        os.close(handle)
    except OSError as error:
        tell(f"refold: {path} cannot be used, so that what you ask is not kept: {error.strerror}")
        return InMemoryHistory()
    return FileHistory(str(path))


class _Coloured(Lexer):
    """Colours by the words that DuckDB finds."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines = list(split_lines(_fragments(document.text)))
        return lambda number: lines[number] if number < len(lines) else []


def _fragments(text: str) -> StyleAndTextTuples:
    found: StyleAndTextTuples = []
    place = 0
    for token in [] if is_command(text) else tokens(text):
        if token.start > place:
            found.append(("", text[place : token.start]))
        place = token.start + len(token.text)
        found.append((_KINDS.get(token.kind, ""), token.text))
    return [*found, ("", text[place:])]


class _Completing(Completer):
    """Offers `Words`."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        found = self._words.after(
            document.text_before_cursor, document.text, is_asked=complete_event.completion_requested
        )
        for word in found:
            yield Completion(
                word.text,
                start_position=-word.replaces,
                display=on_one_line(word.shown),
                display_meta=on_one_line(word.meaning)[:_MOST_MEANING],
            )
