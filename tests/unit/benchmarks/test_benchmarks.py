"""The benchmark program at tiny size: every name runs, every figure has its fields, and what is said of targets is true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pipelines.store import EmbeddedServer
from tests.benchmarks import databases, fold_incremental, rounds
from tests.benchmarks.child import peak_bytes
from tests.benchmarks.figures import COLUMNS, Figure, Target, markdown, summary, table_rows
from tests.benchmarks.fold import scan_month
from tests.benchmarks.run import BENCHMARKS, MIN_EVENTS, main, measure

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT.parent / "shared" / "data"


def run_here(trial: rounds.Trial) -> rounds.Measure:
    """A trial in this process: a fresh one costs a second, and there are twenty."""
    function, arguments = trial
    given = json.loads(json.dumps(arguments))
    return {**function(**given), "peak_bytes": peak_bytes()}


@pytest.fixture
def one_server(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The databases of benchmarks are on the session's server: one for each costs seconds, and there are seven."""
    create = databases._create

    def create_anew(running: EmbeddedServer, name: str, template: str) -> None:
        with psycopg.connect(running.dsn, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        create(running, name, template)

    monkeypatch.setattr(databases, "_create", create_anew)
    monkeypatch.setattr(
        databases, "EmbeddedServer", lambda _home: EmbeddedServer(server.home, server.tools, is_durable=False)
    )


# `verbs` runs the demo twice and ten commands more, two minutes of processes that other tests start, too: by command alone
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "verbs"])
def test_every_benchmark_yields_whole_figures(name, one_server, monkeypatch):
    """Every figure is named after its benchmark, is a positive number, and has a ratio exactly when it has a peer."""
    if name == "import" and not SAMPLES.is_dir():
        pytest.skip("needs the shared data: ../shared beside the checkout")
    monkeypatch.setattr(rounds, "run_trial", run_here)
    monkeypatch.setattr(fold_incremental, "MONTHS", fold_incremental.MONTHS[:3])
    figures = list(measure(name, events=MIN_EVENTS, runs=1))
    assert figures
    for figure in figures:
        said = figure.to_json()
        assert said["name"].startswith(f"{name}: ")
        assert said["unit"]
        assert said["this"] > 0
        assert (said["peer"] is None) == (said["ratio"] is None) == (said["peer_name"] is None)
        assert (said["target"] is None) == (said["holds"] is None)
    assert any(figure.target for figure in figures)
    assert len({figure.name for figure in figures}) == len(figures)


def test_a_trial_runs_in_a_process_of_its_own():
    """The command prints one JSON object with machine, settings and figures; progress is not on stdout."""
    command = [sys.executable, "tests/benchmarks/run.py", "stats", "--events", str(MIN_EVENTS), "--runs", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["events"] == MIN_EVENTS
    assert said["machine"]["cores"] >= 1
    assert {"name", "this", "peer", "ratio", "target", "holds"} <= set(said["figures"][0])
    assert "round 1 of 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], f"no benchmark named nothing; there are: {', '.join(BENCHMARKS)}"),
        (["--events", "10"], "--events is 10; give at least 300"),
        (["--runs", "0"], "--runs is 0; give at least 1"),
    ],
)
def test_bad_usage_is_refused_with_what_there_is(arguments, message, capsys):
    """An unknown name or a size that measures nothing is a usage error with exit code 2, before anything runs."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_failing_trial_says_why(tmp_path):
    """A trial that ends with an error stops the benchmark, with the end of its own message."""
    bench = rounds.Bench(tmp_path, MIN_EVENTS, 1, lambda _line: None)
    with pytest.raises(rounds.TrialFailed, match="unexpected keyword argument 'nothing'"):
        bench.interleave({"broken": (scan_month, {"nothing": 1})})


def test_ratios_are_taken_within_rounds():
    """The ratio is the median of the rounds' ratios: a round in which everything was slow does not move it."""
    measured = rounds.Rounds(
        [
            {"this": {"s": 2.0}, "peer": {"s": 1.0}},
            {"this": {"s": 40.0}, "peer": {"s": 20.0}},
            {"this": {"s": 3.0}, "peer": {"s": 1.0}},
        ]
    )
    figure = measured.figure(
        "a: b", "s", ("this", "s"), peer=("peer", "s"), peer_name="p", target=Target("at most", 2.5)
    )
    assert (figure.this, figure.peer, figure.ratio, figure.holds) == (3.0, 1.0, 2.0, True)


@pytest.mark.parametrize(
    ("target", "this", "ratio", "holds"),
    [
        (Target("at least", 0.8), 1.0, 0.8, True),
        (Target("at least", 0.8), 1.0, 0.79, False),
        (Target("at most", 2.8), 1.0, 2.8, True),
        (Target("at most", 2.8), 1.0, 2.81, False),
        (Target("at least", 15_000, of="figure"), 14_999, 99.0, False),
        (Target("at least", 15_000, of="figure"), 15_000, 0.1, True),
    ],
)
def test_a_target_bounds_the_ratio_or_the_figure(target, this, ratio, holds):
    """A missed target says no, and the figure alone decides where the target is of the figure."""
    figure = Figure("a: b", "s", this, "peer", 1.0, ratio, target)
    assert figure.holds is holds
    assert table_rows([figure])[0][-1] == ("yes" if holds else "no")


def test_the_table_of_the_docs_has_a_line_per_figure():
    """Markdown has a head, a rule and one line per figure; figures without a target are counted apart."""
    figures = [Figure("a: b", "s", 1.0), Figure("a: c", "s", 1234.5, "peer", 2.0, 617.25, Target("at most", 3))]
    lines = markdown(table_rows(figures)).splitlines()
    assert lines[0] == f"| {' | '.join(COLUMNS)} |"
    assert lines[2:] == ["| a: b | 1 s |  |  |  |  |", "| a: c | 1,234 s | 2 s (peer) | 617 × | ≤ 3 × | no |"]
    assert summary(figures) == {"held": 0, "missed": 1, "without_target": 1}
