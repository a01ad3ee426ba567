"""Fill in the templates: the one environment in which pages become HTML, and nothing else does.

A template shows what it is handed. Every value is escaped as it enters, by the environment: it has no filter, global or tag that
would take a text for markup. No page holds a script, a link or an image, whatever the logs say.

Templates are compiled once, as modules are: to compile those of a report takes three times as long as to fill them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket

from pipelines.compiled import compiled_path, keep_compiled
from pipelines.console import printable
from pipelines.review.numbers import UNKNOWN

TEMPLATES = Path(__file__).parent / "templates"


def fill_page(template: str, **values: Any) -> str:
    """A template as a whole, with the values that it names."""
    return _seen(_environment().get_template(template).render(values))


def fill_part(template: str, macro: str, *values: Any) -> str:
    """One macro of a template, with the values that it shows."""
    return _seen(getattr(_environment().get_template(template).module, macro)(*values))


def style_sheet() -> str:
    """The `style` element that a page with parts of templates needs once."""
    return fill_page("style.html")


def _seen(html: str) -> str:
    """A page in which every character is seen: one that could make a text read as another is shown by its code."""
    return printable(html.replace("\r\n", "\n"))


class _Compiled(BytecodeCache):
    """Compiled templates, where Python keeps compiled modules."""

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """By what decides, beside the template, what it is compiled to: this environment, and Jinja's release."""
        parts = (name, str(filename), jinja2.__version__, Path(__file__).read_text(encoding="utf-8"))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load what is there, of the template as it is now."""
        try:
            with _compiled_path(bucket).open("rb") as file:
                bucket.load_bytecode(file)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the template is compiled anew
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        keep_compiled(_compiled_path(bucket), bucket.bytecode_to_string())


def _compiled_path(bucket: Bucket) -> Path:
    return compiled_path(TEMPLATES / f"{bucket.key}.py", ".jinja")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=_Compiled(),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: UNKNOWN if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja's own are left out: `safe`, `xmlattr`, `urlize` and others give markup.
    environment.filters = {"at": _at, "thousands": "{:,}".format}
    environment.globals = {}
    return environment


def _at(share: float) -> str:
    """A place or a width on a line from 0 to 1, for a style sheet."""
    return f"{100 * min(max(share, 0.0), 1.0):.3f}%"
