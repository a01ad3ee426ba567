"""What becomes HTML comes out of templates, which take no text for markup, whatever the logs say."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, is_dataclass, replace
from html import unescape
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment, TemplateAssertionError, UndefinedError, nodes

from pipelines.console import printable
from pipelines.review import markup
from pipelines.review.flows import Flows
from pipelines.review.headline import SummaryLine, find_version
from pipelines.review.headline_html import render_headline, render_message
from pipelines.review.markup import TEMPLATES, fill_part
from pipelines.review.pair_html import render_pair
from pipelines.review.report import Answer, LeftOut, Report, load_report
from pipelines.review.report_html import render_report
from pipelines.review.widgets import table_cell
from pipelines.stats.answer import Answer as StatisticalAnswer
from pipelines.stats.answer import Finding
from tests.support.fragments import ATTRIBUTES, HARMLESS, Fragment
from tests.support.small_lake import EXPERIMENT, OTHER_EXPERIMENT

HOSTILE = "<script>alert(1)</script>\"' onload=x &lt; ]]> --> </div>{{ 1 }}{% raw %}"
TEXTS = [
    HOSTILE,
    "",
    "</title></style><script>",
    '" style="x" onclick="y',
    "' x='",
    "<!--",
    "\x00\u202e{{ 7*77777 }}",
    "/a~1",
]
OURS = {Finding: ("code",), StatisticalAnswer: ("word",)}
"""Codes that no log has a part in, without which there are no words; the names in a noise floor as well."""
# An address has one of these with something behind it; a word joiner there ends it.
ADDRESS = re.compile("(?:[:/@]|www)(?!\u2060)", re.IGNORECASE)
REVIEW = Path(markup.__file__).parent
MODULES = sorted(REVIEW.glob("*.py"))
PAGES = sorted(path.name for path in TEMPLATES.glob("*.html"))
TAG = re.compile(r"</?[a-z][a-z0-9]*[\s/>]|<!doctype", re.IGNORECASE)
# Of the file that stands alone, beyond what a fragment may hold.
OF_THE_FILE = {"html", "head", "meta", "title", "style", "body", "main", "h1", "ul", "li", "pre", "svg", "path"}
ITS_ATTRIBUTES = {
    "lang",
    "charset",
    "name",
    "content",
    "http-equiv",
    "aria-label",
    "viewbox",
    "preserveaspectratio",
    "d",
    "data-low",
    "data-high",
    "data-point",
}


@pytest.mark.quick
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_writes_a_tag(path: Path):
    """HTML stands in templates alone, where it can be seen."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [string for string in strings if TAG.search(string)] == []
    assert TAG.search("see <b>bold") is not None


def parsed(name: str) -> nodes.Template:
    """The syntax of a template, by the environment that fills it in."""
    environment: Environment = markup._environment()
    return environment.parse((TEMPLATES / name).read_text(encoding="utf-8"))


@pytest.mark.quick
@pytest.mark.parametrize("name", PAGES)
def test_a_template_takes_no_text_for_markup(name: str):
    """Every template escapes, never stops to escape, and uses filters of texts alone; `safe` and its like do not exist."""
    environment = markup._environment()
    template = environment.get_template(name)
    assert template.environment.autoescape is True
    syntax = parsed(name)
    assert {found.name for found in syntax.find_all(nodes.Filter)} <= {"at", "thousands"}
    assert [*syntax.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier))] == []
    assert [*syntax.find_all((nodes.MarkSafe, nodes.MarkSafeIfAutoescape))] == []
    for wrong in ("{{ x|safe }}", "{{ x|xmlattr }}", "{{ x|tojson }}"):
        with pytest.raises(TemplateAssertionError):
            environment.from_string(wrong)
    with pytest.raises(UndefinedError):
        environment.from_string("{{ nothing }}").render()


@pytest.mark.quick
@pytest.mark.parametrize("name", PAGES)
def test_a_value_in_a_tag_stands_between_quotes(name: str):
    """Escaping holds a value inside of its quotes; no template writes one where there are none."""
    source = re.sub(r"\{#.*?#\}", "", (TEMPLATES / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    # what stands in double quotes, values and statements among it, is one attribute
    tags = re.findall(r"<[a-z](?:\"[^\"]*(?:\{[{%].*?[%}]\}[^\"]*)*\"|\{%.*?%\}|[^>\"])*>", source, re.DOTALL)
    for each in tags:
        outside = re.sub(r"\"[^\"]*(?:\{[{%].*?[%}]\}[^\"]*)*\"", '""', each, flags=re.DOTALL)
        assert "{{" not in outside, each


@pytest.mark.quick
def test_a_style_sheet_is_no_template():
    """Style sheets are included as they are: none holds a value or a statement, none can end its element."""
    for path in TEMPLATES.glob("*.css"):
        assert re.search(r"\{\{|\{%|\{#|<", path.read_text(encoding="utf-8")) is None


@given(st.text())
@example(HOSTILE)
@example("a\r\nb")
@pytest.mark.quick
def test_text_reads_back_as_it_was(value: str):
    """A browser shows the text that the log holds: nothing is lost, nothing becomes a tag, what is not seen is its code."""
    shown = Fragment(render_message(value))
    assert (shown.tags, shown.attributes) == ({"p"}, {"class", "role"})
    assert shown.words.strip("\n") == printable(value.replace("\r\n", "\n")).strip("\n")


@pytest.mark.quick
def test_directions_are_shown_instead_of_obeyed():
    """A text cannot make itself read backwards; invisible controls are visible."""
    assert "pay \\u202e50" in render_message("pay \u202e50")


LINE = {
    **dict.fromkeys(("mean_a", "mean_b", "total_a", "total_b"), 1.0),
    **dict.fromkeys(("n", "excluded", "g", "g_needed"), 3),
    "estimate": 0.5,
    "low": 0.1,
    "high": 0.7,
    "q_value": None,
    "margin": 0.2,
    "segment": "all",
}


def full_report(report: Report) -> Report:
    """A report with something in every part that a page can have."""

    def line(metric: str, kind: str, **more: Any) -> SummaryLine:
        given = {**LINE, "metric": metric, "kind": kind, "segment_value": "all", "goal": "lower", "verdict": "improved"}
        return SummaryLine(**{**given, "reason": "skewed", **more})

    headline = replace(
        report.headline,
        differences=(*report.headline.differences, line("money", "metric")),
        segments=(*report.headline.segments, line("refund_usd", "metric", segment="vertical", segment_value="x")),
        noise=tuple(line(name, "noise") for name in ("noise_raw", "noise_excess", "noise_drift")),
        notes=("a note",),
        flat_metrics=(("metric", "a", None),),
        outcomes={"both": 1},
        not_asked=2,
    )
    return replace(
        report,
        headline=headline,
        answer=Answer("ship", "Ship", ("because",), (("a >= 1", "2", True), ("b", "nothing", False))),
        left_out=(*report.left_out, LeftOut("ok", "off_policy", 1, 1), LeftOut("not_asked", "no_context", 1, 1)),
        firsts=(("timeout", "unit", "told"),),
        flows=Flows({("refund", "refund", True): 3, ("refund", "escalate", False): 2}, "decisions"),
    )


def with_texts(value: Any, draw: Random, share: float) -> Any:
    """The same with hostile texts: each text in it, wherever it stands, is replaced with this chance."""
    if isinstance(value, str):
        return draw.choice(TEXTS) if draw.random() < share else value
    if isinstance(value, list | tuple):
        return type(value)(with_texts(each, draw, share) for each in value)
    if isinstance(value, dict):
        return {with_texts(key, draw, share): with_texts(each, draw, share) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        ours = OURS.get(type(value), ())
        changed = {
            field.name: getattr(value, field.name)
            if field.name in ours or getattr(value, "kind", None) == "noise"
            else with_texts(getattr(value, field.name), draw, share)
            for field in fields(value)
        }
        return replace(value, **changed)
    return value


@pytest.fixture(scope="module")
def reports(small) -> list[Report]:
    """Reports of both experiments, with every part."""
    return [
        full_report(load_report(small.lake, find_version(small.lake, name))) for name in (EXPERIMENT, OTHER_EXPERIMENT)
    ]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.02, 0.3, 1.0]), place=st.integers(0, 1))
def test_hostile_text_in_any_field_of_any_page_stays_text(reports: list[Report], seed: int, share: float, place: int):
    """Whatever stands in any text of a version, of a pair or of an answer, a page holds its own elements and attributes alone."""
    report = with_texts(reports[place], Random(seed), share)
    page = render_report(report)
    # `meta` has no end, so the parser is told of one
    whole = Fragment(re.sub(r"(<meta [^>]*>)", r"\1</meta>", page))
    assert whole.tags <= OF_THE_FILE | HARMLESS
    assert whole.attributes <= ITS_ATTRIBUTES | ATTRIBUTES
    assert page.count("<style>") == 2
    assert "544439" not in page  # nothing of a text is computed
    for part in (render_headline(report.headline), *(render_pair(pair) for pair in report.changes[:2])):
        assert Fragment(part).is_harmless


def test_every_text_of_a_pair_is_on_its_page(reports: list[Report]):
    """What a page is handed it shows: each text of a pair, its messages and its calls can be read on it."""
    for pair in (pair for report in reports for pair in report.changes):
        words = Fragment(render_pair(pair)).words
        wanted = [*pair.labels.values(), pair.unit_id, pair.a.text, pair.b.text if pair.status == "ok" else None]
        wanted += [name for call in pair.calls for name in (call.name_a, call.name_b)]
        for conversation in (pair.context, pair.transcript_a, pair.transcript_b):
            wanted += [each.text for each in (*conversation.first, *conversation.last)] if conversation else []
        assert [text for text in wanted if text is not None and text not in words] == []


def test_quotes_and_tags_in_attributes_stay_inside():
    """A title of a ribbon with everything hostile is one text."""
    drawn = {
        "height": "1",
        "names_a": [(HOSTILE, 1, 0.5)],
        "names_b": [],
        "ribbons": [{"path": HOSTILE, "is_same": True, "title": HOSTILE}],
        "note": HOSTILE,
        "unit": HOSTILE,
        "counts": [(HOSTILE, HOSTILE, 1)],
    }
    html = fill_part("flows.html", "flows", drawn)
    assert Fragment(html).attributes <= ITS_ATTRIBUTES | ATTRIBUTES
    assert unescape(html).count(HOSTILE) == 7


@given(st.text(alphabet=st.sampled_from("htps:/data;javscriptwww.mailto@x \n"), max_size=60), st.integers(2, 40))
@example("see http://127.0.0.1/picture.png", 40)
@example("DATA:image/png;base64,AAAA www.example.org //example.org mailto:a@b", 200)
def test_a_table_cell_holds_no_address(value, characters):
    """The table widget makes links of addresses and loads pictures, so a cell holds none, and one line at most."""
    cell = table_cell(value, characters)
    assert ADDRESS.search(cell) is None
    visible = cell.replace("\u2060", "")
    assert len(visible) <= characters
    assert "\n" not in cell
    line = " ".join(value.split())
    assert visible == line or (visible.endswith("…") and line.startswith(visible[:-1]))
