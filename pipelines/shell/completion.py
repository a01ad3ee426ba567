"""What can be typed next: columns of the relations that the statement names, relations, macros, functions, keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pipelines.duck import quote_identifier
from pipelines.lake.catalog import describe
from pipelines.lake.views import list_macros
from pipelines.shell.asking import Asking
from pipelines.shell.script import is_command, is_inside, tokens
from pipelines.shell.shell import COMMANDS

_WORD = re.compile(r'(?:(?P<of>\w+|"[^"]+")\.)?(?P<begun>"?\w*)$')
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEFORE_RELATIONS = ("FROM", "JOIN", "DESCRIBE", "SUMMARIZE", "TABLE")


@dataclass(frozen=True, slots=True)
class Word:
    """What can stand there.

    Attributes:
        text: What is written.
        replaces: Characters before the cursor that it stands for.
        shown: Its name.
        meaning: What it is, in a few words.
    """

    text: str
    replaces: int
    shown: str
    meaning: str


class Words:
    """Knows the words of one connection."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._known: tuple[str, dict[str, tuple[str, tuple[str, ...]]]] = ("", {})

    def after(self, text: str, whole: str, *, is_asked: bool) -> Iterator[Word]:
        """What can follow `text`, best first.

        Args:
            text: What stands before the cursor.
            whole: What stands before and after it.
            is_asked: Whether a person asked for it: then nothing need be begun.
        """
        if is_command(text):
            yield from self._commands(text.lstrip())
            return
        found = _WORD.search(text)
        if found is None or is_inside(text):
            return
        begun, of = found["begun"].lstrip('"'), found["of"]
        if not (begun or of or is_asked):
            return
        seen: set[str] = set()
        for name, shown, meaning in self._candidates(text[: found.start()], whole, of, begun):
            if name.lower() not in seen and shown.lower().startswith(begun.lower()):
                seen.add(name.lower())
                yield Word(name, len(found["begun"]), shown, meaning)

    def _commands(self, line: str) -> Iterator[Word]:
        name, space, given = line.partition(" ")
        if not space:
            for usage, meaning in COMMANDS.items():
                if usage.startswith(name):
                    yield Word(usage.split(" ")[0], len(name), usage, meaning)
        elif name == "\\d":
            for relation, (grain, _) in self._described.items():
                if relation.startswith(given.lower()):
                    yield Word(relation, len(given), relation, grain)

    def _candidates(self, before: str, whole: str, of: str | None, begun: str) -> Iterable[tuple[str, str, str]]:
        """(what is written, its name, what it is), best first."""
        named = self._named(whole)
        if of is not None:
            relation = named.get(of.strip('"').lower())
            return self._columns_of([relation] if relation else [])
        last = next((token.text.upper() for token in reversed(tokens(before)) if token.kind != "comment"), "")
        columns = self._columns_of(dict.fromkeys(named.values()))
        relations = [(_written(name), name, grain) for name, (grain, _) in self._described.items()]
        relations += [(_written(name), name, "made here") for name in self._asking.made()]
        if last in _BEFORE_RELATIONS:
            return relations
        macros = [(f"{macro.name}(", macro.name, macro.gives) for macro in list_macros()]
        words = [word.lower() if begun.islower() else word for word in self._keywords]
        keywords = [(word, word, "") for word in words]
        functions = [(f"{name}(", name, "function") for name in self._functions]
        others = [] if named or not begun else self._columns_of(self._described)
        return (
            [*columns, *macros, *relations, *keywords, *others, *functions]
            if begun
            else [*columns, *macros, *relations]
        )

    @property
    def _described(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """What one row is and the columns, by relation: of the lake that was last asked."""
        if self._known[0] != self._asking.state:
            described = {
                name: (grain, tuple(column.name for column in columns))
                for name, (grain, columns) in describe(self._asking.lake).items()
            }
            self._known = (self._asking.state, described)
        return self._known[1]

    def _named(self, whole: str) -> dict[str, str]:
        """The relations that a statement names, by their names and by what it calls them."""
        known = {*self._described, *map(str.lower, self._asking.made())}
        words = [token for token in tokens(whole) if token.kind != "comment"]
        found: dict[str, str] = {}
        for index, word in enumerate(words):
            name = word.text.strip('"').lower()
            if name not in known:
                continue
            found[name] = name
            rest = words[index + 1 : index + 3]
            if rest and rest[0].text.upper() == "AS":
                rest = rest[1:]
            if rest and rest[0].kind == "identifier":
                found[rest[0].text.strip('"').lower()] = name
        return found

    def _columns_of(self, relations: Iterable[str]) -> list[tuple[str, str, str]]:
        described = self._described
        columns: list[tuple[str, str, str]] = []
        for relation in relations:
            names = (
                described[relation][1]
                if relation in described
                else [name for name, _ in self._asking.columns(relation)]
            )
            columns += [(_written(name), name, f"column of {relation}") for name in names]
        return columns

    @cached_property
    def _keywords(self) -> list[str]:
        rows = self._asking.rows("SELECT upper(keyword_name) FROM duckdb_keywords() ORDER BY ALL")
        return [word for (word,) in rows]

    @cached_property
    def _functions(self) -> list[str]:
        rows = self._asking.rows("SELECT DISTINCT function_name FROM duckdb_functions() ORDER BY ALL")
        return [name for (name,) in rows if _PLAIN.fullmatch(name)]


def _written(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quote_identifier(name)
