"""axe-core in the browser that looks at a page: what keeps people who see little, or use no mouse, from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from tests.support.browser import Page

_SERIOUS = ("serious", "critical")
# A page is one document; the shadow trees of its elements are looked through as well.
_RUN = """
axe.run({within}, {{resultTypes: ['violations']}}).then((found) => found.violations
    .filter((rule) => {impacts}.includes(rule.impact))
    .flatMap((rule) => rule.nodes.map((node) =>
        `${{rule.id}} (${{rule.impact}}): ${{node.target.flat().join(' >> ')}}: ${{node.html.slice(0, 200)}}: ${{node.failureSummary}}`)))
"""


def violations(page: Page, within: str = "document", impacts: Sequence[str] = _SERIOUS) -> list[str]:
    """What axe-core finds wrong with what a page shows now, a line for each element.

    Args:
        page: The page, as it is to be judged: loaded, in its size and colours.
        within: JavaScript that gives what is looked through: an element, a selector in quotes, or all.
        impacts: Impacts that count, of minor, moderate, serious and critical.
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_script())
    return list(page.evaluate(_RUN.format(within=within, impacts=list(impacts))))


@cache
def _script() -> str:
    """The script, and a value that can be handed back."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "\n;true"
