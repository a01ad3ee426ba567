"""Fill in the templates: the one environment in which pages become HTML, and nothing else does.

A template shows what it is handed. Every value is escaped as it enters, by the environment: it has no filter, global or tag that
would take a text for markup. No page holds a script, a link or an image, whatever the logs say.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

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


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
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
