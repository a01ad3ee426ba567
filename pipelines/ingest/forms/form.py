"""What a form is, and the list of them: those that come with Refold, and importers of one's own in REFOLD_HOME/importers.

A form does two things. It reads files into groups of records, a conversation each, within the memory it is given; and it says
what one group means, as rows of `pipelines.ingest.assemble.rows`. What follows is the same for all.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Protocol, cast

from pipelines.arrow import let_pandas_in
from pipelines.errors import BadInputError
from pipelines.ingest.assemble.rows import Group, Row

SHIPPED = {
    "otlp": "otlp",
    "langfuse": "langfuse",
    "langsmith": "langsmith",
    "inspect": "inspect",
    "voice": "voice",
    "responses": "responses",
    "anthropic": "anthropic",
    "litellm": "litellm",
    "claude-code": "coding.claude_code",
    "codex": "coding.codex",
    "atif": "coding.atif",
    "swe-agent": "coding.swe_agent",
    "openhands": "coding.openhands",
    "dataset": "dataset",
}
"""Forms by name, with the module of `pipelines.ingest.forms` whose `FORM` each is, in the order in which files are tried."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of an import.

    Attributes:
        source: Source of the conversations; None leaves it to the form.
        conversation_key: Field or attribute that names a conversation, before those that the form knows.
        subject_key: The same for the person that it is about.
        memory_bytes: Memory that the process may take.
        taken_bytes: What it holds before the first file is read.
        folder: An empty private folder for what does not fit into memory; whoever makes it removes it.
    """

    source: str | None = None
    conversation_key: str | None = None
    subject_key: str | None = None
    memory_bytes: int = 1_000_000_000
    taken_bytes: int = 0
    folder: Path = Path()


@dataclass(slots=True)
class Head:
    """The beginning of a file, by which its form is told.

    Attributes:
        path: The file.
        data: Its first bytes, decompressed; at most a mebibyte.
        values: The JSON values that begin in `data` and end there: of JSON lines the first ones, of one document that one; none
            where the file is no JSON or its document is longer.
    """

    path: Path
    data: bytes
    values: list[Any] = field(default_factory=list)

    def names(self, *keys: str) -> bool:
        """Whether the beginning has all of these as names of JSON fields, at any depth."""
        return all(f'"{key}"'.encode() in self.data for key in keys)

    @property
    def first(self) -> dict[str, Any]:
        """The first object: of an array its first one; empty where there is none."""
        value = self.values[0] if self.values else None
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, dict) else {}


class Form(Protocol):
    """One form of foreign files. Its module has it as `FORM`."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    def recognises(self, head: Head) -> bool:
        """Whether a file that begins so is of this form."""

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The conversations of all the files together, each whole; records in order of start, a parent before its child.

        Memory is bounded by `options.memory_bytes`, not by the files. `Record.leaves` is counted here, by
        `pipelines.ingest.assemble.leaves`, before anything is taken out of the record.

        Raises:
            BadInputError: A file cannot be read, or a record is none; the error names file and place.
        """

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What the records of one conversation say; pure.

        What a row maps is taken out of `Record.value`, and what is left is the row's `rest`: the same object. A record that gives
        no row is left as it is, and is kept.

        Raises:
            BadInputError: A record cannot be understood; the error names its place.
        """


def form_named(name: str, home: Path) -> Form:
    """The form of this name: one of one's own, else one that comes with Refold.

    Args:
        name: As on the command line.
        home: REFOLD_HOME; an importer of one's own is `importers/NAME.py` there, and has a `FORM`.

    Raises:
        BadInputError: There is none, or its file cannot be loaded.
    """
    own = own_importers(home)
    if name in own:
        return _own(name, own[name])
    if name not in SHIPPED:
        raise BadInputError(f"there is no form {name!r}; there are {', '.join([*SHIPPED, *own])}")
    try:
        module = importlib.import_module(f"pipelines.ingest.forms.{SHIPPED[name]}")
    except ModuleNotFoundError as error:
        if error.name != f"pipelines.ingest.forms.{SHIPPED[name]}":
            raise
        raise BadInputError(f"form {name!r} is not read by this version") from None
    return cast("Form", module.FORM)


def forms(home: Path) -> Iterator[Form]:
    """All forms, one's own first, in the order in which files are tried."""
    own = own_importers(home)
    for name in [*own, *(each for each in SHIPPED if each not in own)]:
        if name in own or _is_there(SHIPPED[name]):
            yield form_named(name, home)


def own_importers(home: Path) -> dict[str, Path]:
    """Importers of one's own by name: the files `importers/NAME.py` of a home."""
    found = {path.stem: path for path in sorted((home / "importers").glob("*.py"))}
    return {name: path for name, path in found.items() if _NAME.fullmatch(name)}


def _is_there(module: str) -> bool:
    return Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py").is_file()


def _own(name: str, path: Path) -> Form:
    spec = spec_from_file_location(f"refold_importer_{name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadInputError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    let_pandas_in()
    form = getattr(module, "FORM", None)
    missing = [each for each in ("name", "recognises", "groups", "adapt") if not hasattr(form, each)]
    if missing:
        raise BadInputError(f"{path} must have a FORM with {', '.join(missing)}; see docs/import.md")
    return cast("Form", form)


def head_of(path: Path) -> Head:
    """The beginning of a file.

    Raises:
        BadInputError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0, os.SEEK_SET)
            data = gzip.GzipFile(fileobj=file).read(_HEAD_BYTES) if is_packed else file.read(_HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from error
    return Head(path, data, list(_values(data)))


def _values(data: bytes) -> Iterator[Any]:
    """JSON values of a text that may be cut at its end."""
    text = data.decode("utf-8-sig", errors="replace")
    decoder, at = json.JSONDecoder(), 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip()) if text[at : at + 1].isspace() else 0
        if text[at : at + 1] not in ("{", "["):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield value
