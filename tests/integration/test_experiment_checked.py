"""`refold ab` on an experiment that is wrong, or that fails on what was recorded: what is told, and what is kept of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store
from tests.support.databases import filled_template
from tests.support.model_server import serving
from tests.support.shop import add, conversation
from tests.support.verbs import Verbs

PLANTED = "Planted-Ann-Smith-1967"
"""Stands in every conversation's order, and must stand nowhere but where conversations are kept."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake to copy."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def template(server: EmbeddedServer, template: str, folder: Path) -> Iterator[str]:
    """A database to copy with that lake: some conversations."""
    lines = [conversation(n, "v1", 10.0 + n, f"2026-01-0{1 + n % 7} 08:00:00") for n in range(6)]
    lines = [
        json.loads(json.dumps(line).replace("Paying it back.", PLANTED).replace("Refunded", PLANTED)) for line in lines
    ]
    for line in lines:
        line["messages"][1]["content"] += f" {PLANTED}"
        line["task_id"] += PLANTED
    with filled_template(
        server, template, folder / "lake", lambda store, lake: add(store, lake, folder, lines)
    ) as name:
        yield name


@pytest.fixture
def run(refold: Verbs, settings: Settings, folder: Path) -> Callable[..., tuple[int, str]]:
    """Runs `refold` on a home with some conversations; exit code and all that was printed."""
    shutil.copytree(folder / "lake", settings.lake)

    def told(*arguments: str) -> tuple[int, str]:
        code, out, err = refold(*arguments)
        return code, f"{out}\n{err}"

    return told


MANY = """experiment: many-faults
candidate: {python: "desk:half"}
window: {from: 2026-01-01, to: 2026-02-01}
where: "vertcal = 'x'"
tools: {manifest: none.yaml}
metrics:
  a: {sql: "lenght(text)"}
  b: {sql: "call_cout + 1"}
  c: {sql: "[1, 2]"}
  d: {python: "nowhere:measure"}
  e: {sql: "tool_calls[1].argument"}
  f: {sql: "1", goal: lower}
expect:
  - {name: g, sql: "tex = 'a'"}
primary: h
gate: "z >= 1"
"""


def test_all_that_is_wrong_is_told_at_once(
    run: Callable[..., tuple[int, str]], tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """SQL, files, functions, names: one list with lines, exit code 2, and nothing was registered or imported."""
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    (tmp_path / "desk.py").write_text("def half(decision): return None\n")
    for options in ([], ["--dry-run"]):
        code, told = run("ab", str(path), *options)
        assert code == 2
        lines = [line for line in told.splitlines() if line.startswith("  line ")]
        found = {int(line.split()[1].rstrip(":")): line for line in lines}
        assert sorted(found) == [4, 5, 7, 8, 9, 10, 11, 14, 15, 16]
        assert 'Candidate bindings: "vertical"' in found[4]
        assert "none.yaml" in found[5]
        assert "length" in found[7]
        assert "call_count" in found[8]
        assert "nowhere" in found[10]
        assert "arguments" in found[11]
        assert 'Candidate bindings: "text"' in found[14]
        assert "primary 'h'" in found[15]
    with Lake.from_settings(settings).connect() as connection:
        assert connection.sql("SELECT count(*) FROM experiments").fetchall() == [(0,)]


NO_KEY = """experiment: no-key
candidate:
  {model: m, base_url: "http://127.0.0.1:9/v1", api_key_env: NOT_SET_ANYWHERE}
control:
  {model: n, prompt_edit: [{find: a, replace: b}], api_key_env: NOT_SET_EITHER}
"""


def test_a_key_that_is_not_set_is_told_before_anything_is_asked(
    run: Callable[..., tuple[int, str]], tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """It is one of the findings, with its line, for each variable; a dry run notes it and goes on."""
    path = tmp_path / "no-key.yaml"
    path.write_text(NO_KEY + "primary: nothing\n")
    code, told = run("ab", str(path))
    assert code == 2
    assert "3 findings" in told
    assert re.search(r"line 3: .*NOT_SET_ANYWHERE is not set", told), told
    assert re.search(r"line 5: .*NOT_SET_EITHER is not set", told), told
    path.write_text(NO_KEY)
    code, told = run("ab", str(path), "--dry-run")
    assert code == 0, told
    assert len(re.findall(r"note: .*NOT_SET_(ANYWHERE|EITHER) is not set", told)) == 2
    monkeypatch.setenv("NOT_SET_ANYWHERE", "k")
    path.write_text(NO_KEY.replace(", api_key_env: NOT_SET_EITHER", ""))
    assert "is not set" not in run("ab", str(path), "--dry-run")[1]
    with Lake.from_settings(settings).connect() as connection:
        assert connection.sql("SELECT count(*) FROM experiments").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ('{sql: "text::INTEGER"}', "metric m: "),
        ("{sql: \"'inf'::DOUBLE\"}", "metric m fails on all 18 recorded units .*not_finite: it gives inf"),
        ('{sql: "0.0::DOUBLE / 0"}', "metric m fails on all 18 recorded units .*not_finite: it gives nan"),
        ('{python: "code:metric"}', r"metric m fails on all 18 recorded units .*ValueError at code\.py:"),
        ('{python: "code:both"}', r"metric m fails on all 18 recorded units .*ValueError at code\.py:"),
        ('{python: "code:alike"}', r"metric m gives 1 for what was recorded beside itself .*: 0 for the same"),
        ("{sql: \"CASE WHEN call_count > 0 THEN 'inf'::DOUBLE ELSE 0 END\"}", None),
    ],
)
def test_a_metric_that_fails_on_what_was_recorded_is_told_before_anybody_is_asked(
    metric: str, told: str | None, run: Callable[..., tuple[int, str]], tmp_path: Path
):
    """On every recorded unit: nothing is asked, exit code 2. On some: it is a metric that failed there, and the page says so."""
    path = tmp_path / "unmeasurable.yaml"
    path.write_text(f'experiment: unmeasurable\ncandidate: {{python: "code:noting"}}\nmetrics: {{m: {metric}}}\n')
    (tmp_path / "code.py").write_text(CODE)
    code, page = run("ab", str(path))
    assert PLANTED not in page
    if told is None:
        assert code == 0, page
        assert re.search(r"m has no value on \d+ sides: not_finite: it gives inf; give null", page), page
    else:
        assert code == 2, page
        assert re.search(told, page), page
    assert (tmp_path / "asked").exists() == (told is None)


def test_a_decision_that_nobody_answers_ends_with_1(run: Callable[..., tuple[int, str]], tmp_path: Path):
    """`replan` says the endpoint's own words, or the candidate's exception, and exits 1; with an answer it exits 0."""
    path = tmp_path / "one.yaml"
    asked = ("replan", "shop/v1-3", "--decision", "1", "--candidate", str(path))
    for status in (400, 404):
        refused = (status, {}, b'{"error": {"message": "this model takes no temperature"}}')
        with serving(respond=lambda _body, _times, refused=refused: refused) as server:
            path.write_text(f"{{model: m, base_url: '{server.base_url}'}}")
            code, told = run(*asked)
            assert (code, "this model takes no temperature" in told) == (1, True), told
    (tmp_path / "code.py").write_text(CODE)
    path.write_text('{python: "code:decide"}')
    for options in ([], ["--json"]):
        code, told = run(*asked, *options)
        assert (code, "ValueError" in told) == (1, True), told
    path.write_text("{echo: true}")
    assert run(*asked)[0] == 0


FAILING = {
    "metric": 'metrics: {m: {sql: "text::INTEGER"}}',
    "metric that says it": 'metrics: {m: {sql: "error(text)::INTEGER"}}',
    "rule": 'expect: [{name: r, sql: "text::BOOLEAN"}]',
    "where": 'where: "error(task) IS NULL"',
    "python metric": 'metrics: {m: {python: "code:metric"}}',
    "metric of both sides": 'metrics: {m: {python: "code:both"}}',
    "candidate": "",
}
CODE = """
def metric(side):
    raise ValueError(f"cannot read {side.text}")

def both(a, b):
    raise ValueError(f"cannot read {a['text'].to_list()} {b['text'].to_list()}")

def alike(a, b):
    return (a["unit_id"] == b["unit_id"]).cast(int)

def noting(decision):
    from pathlib import Path

    Path(__file__).with_name("asked").touch()


def decide(decision):
    raise ValueError(decision.messages[-1]["content"])
"""


@pytest.mark.parametrize("kind", FAILING)
def test_what_fails_keeps_no_recorded_text(
    kind: str, run: Callable[..., tuple[int, str]], tmp_path: Path, settings: Settings
):
    """Whatever fails on a recorded text, neither the terminal nor anything in the home but the lake's own tables holds it."""
    candidate = '{python: "code:decide"}' if kind == "candidate" else "{echo: true}"
    path = tmp_path / "failing.yaml"
    path.write_text(f"experiment: failing\ncandidate: {candidate}\n{FAILING[kind]}\n")
    (tmp_path / "code.py").write_text(CODE)
    code, told = run("ab", str(path))
    assert PLANTED not in told
    is_python = kind in ("python metric", "metric of both sides", "candidate")
    assert code == (0 if is_python else 2), told
    if is_python:
        assert "ValueError at code.py:" in told
        assert "(first in " in told
        counted = re.search(r"(\d+) not answered\n  (\d+) candidate_error: the candidate raised an error\n", told)
        assert (counted is not None and counted[1] == counted[2]) == (kind == "candidate"), told
    holding = [each for each in settings.home.rglob("*") if each.is_file() and PLANTED.encode() in each.read_bytes()]
    kept = {settings.lake, settings.home / "reports"}  # what was said, where it is kept
    assert [each for each in holding if not any(each.is_relative_to(folder) for folder in kept)] == []


OWN_FOLD = """-- purpose: Fails on a text.
-- parameters: none
-- grain: one event
-- key: stream, place
SELECT aggregate_id AS stream, stream_version AS place, {} AS n FROM events
"""
UPCASTER = {
    "conversion": "SELECT json_object('n', (payload ->> '$.note')::INTEGER)",
    "said": "SELECT error(payload ->> '$.note')::VARCHAR",
}


@pytest.mark.parametrize("kind", ["fold", "fold that says it", *UPCASTER])
def test_own_sql_that_fails_keeps_no_recorded_text(
    kind: str, run: Callable[..., tuple[int, str]], tmp_path: Path, settings: Settings, store: Store
):
    """An own projection and an own upcaster that fail on a recorded text, folded and checked, say it nowhere and keep it nowhere."""
    folds = settings.home / "folds"
    folds.mkdir()
    if kind in UPCASTER:
        for version in (1, 2):
            path = tmp_path / f"note.v{version}.json"
            path.write_text(
                json.dumps({"event_type": f"note.taken.v{version}", "description": "x", "schema": {"type": "object"}})
            )
            assert run("events", "register", str(path))[0] == 0
        with Store.open(replace(settings, dsn=store.dsn)) as opened:
            opened.append(uuid4(), "conversation", [NewEvent("note.taken.v1", {"note": PLANTED})], "no_stream")
        (settings.home / "upcasters").mkdir()
        (settings.home / "upcasters" / "note.taken.v1.sql").write_text(UPCASTER[kind])
        assert run("export")[0] == 0
    expression = {"fold": "(payload ->> '$.text')::INTEGER", "fold that says it": "error(payload)::INTEGER"}
    (folds / "failing.sql").write_text(OWN_FOLD.format(expression.get(kind, "1")))
    told = [run("fold"), run("fold", "failing"), run("fold", "--check", str(folds / "failing.sql"))]
    if kind in UPCASTER:
        told.append(run("events", "upcast", "--check"))
        assert "note.taken.v1" in told[-1][1]
    for code, text in told:
        assert PLANTED not in text
        assert code in (1, 2, 3), text
    holding = [each for each in settings.home.rglob("*") if each.is_file() and PLANTED.encode() in each.read_bytes()]
    assert [each for each in holding if not each.is_relative_to(settings.lake)] == []


def test_the_starter_passes_a_dry_run(run: Callable[..., tuple[int, str]], tmp_path: Path):
    """`--init` writes a file once, which runs as it stands; without a name it is printed."""
    path = tmp_path / "First try.yaml"
    assert run("ab", "--init", str(path))[0] == 0
    code, told = run("ab", str(path), "--dry-run")
    assert (code, "first-try  version" in told) == (0, True), told
    code, told = run("ab", "--init", str(path))
    assert (code, "cannot be written" in told) == (2, True)
    assert run("ab", "--init")[1].startswith("# yaml-language-server")
    assert run("ab")[0] == 2


def test_sql_tells_the_candidates(run: Callable[..., tuple[int, str]]):
    """A name that is not there comes with what DuckDB takes it for."""
    code, told = run("sql", "SELECT agnt FROM conversations")
    assert code == 2
    assert 'Candidate bindings: "agent"' in told
    assert BadInputError.exit_code == 2
