"""Which form a file is of, told by how it begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.ingest.forms.form import SHIPPED, Form, forms, head_of


def recognised(files: Iterable[Path], home: Path) -> list[tuple[Form, tuple[Path, ...]]]:
    """Files by their form, each form with all of its files, in the order in which the first of each was named.

    Args:
        files: Regular files.
        home: REFOLD_HOME, whose own importers are asked first.

    Raises:
        BadInputError: A file cannot be read, is empty, or is of no form, or of one that comes as a pipe.
    """
    known = list(forms(home))
    found: dict[str, tuple[Form, list[Path]]] = {}
    for path in files:
        if not path.is_file():
            raise BadInputError(f"{path} is no file; name the form of what a pipe gives, as in `refold import otlp -`")
        head = head_of(path)
        if not head.data.strip():
            raise BadInputError(f"{path} is empty: there is nothing in it to import; name the others without it")
        form = next((each for each in known if each.recognises(head)), None)
        if form is None and b"\0" in head.data[:64]:
            raise BadInputError(f"{path} is of no form that is known, and no text in UTF-8; write it again as UTF-8")
        if form is None:
            raise BadInputError(
                f"{path} is of no form that is known by its beginning ({', '.join(SHIPPED)}); name the form, or write an "
                "importer of your own, REFOLD_HOME/importers/NAME.py"
            )
        found.setdefault(form.name, (form, []))[1].append(path)
    return [(form, tuple(paths)) for form, paths in found.values()]
