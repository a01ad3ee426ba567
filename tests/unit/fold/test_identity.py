"""The one hash of what folds knows every file that decides a cell; months, snapshots and versions go by it."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from pipelines.experiment import plan
from pipelines.experiment.file import parse_experiment
from pipelines.fold import identity
from pipelines.fold.identity import code_hash, fold_files, hash_folds
from pipelines.folds.run import fold_month
from pipelines.sqlfiles import sql_root
from tests.support.log_strategies import one_stream
from tests.support.replayed_lake import write_log

PACKAGE = Path(identity.__file__).parents[1]
# what the folds import beside it moves, keeps or refuses rows, and puts nothing in a cell
NO_RULES = (
    "__init__",
    "address",
    "arrow",
    "compiled",
    "duck",
    "errors",
    "locks",
    "settings",
    "sqlfiles",
    "lake.__init__",
    "lake.catalog",
    "lake.commits",
    "lake.dataset",
    "lake.datasets.__init__",
    "lake.datasets.audit",
    "lake.datasets.diffs",
    "lake.datasets.log",
    "lake.datasets.redacted",
    "lake.datasets.registry",
    "lake.datasets.replays",
    "lake.datasets.reviews",
    "lake.errors",
    "lake.lake",
    "lake.locked",
    "lake.memory",
    "lake.sizes",
    "lake.locked_child",
    "lake.sql_errors",
    "lake.delta",
    "lake.own",
    "lake.own_upcasters",
    "lake.query",
    "lake.readable",
    "lake.files",
    "lake.partition",
    "lake.table",
    "lake.views",
    "lake.writers",
)


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """The package and its SQL, to be edited."""
    shutil.copytree(PACKAGE, tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sql_root(), tmp_path / "sql")
    return tmp_path / "pipelines", tmp_path / "sql"


def imported(package: Path, start: list[Path]) -> set[Path]:
    """Modules of a package that are imported from some of it, directly or not, but for the recorder's and the store's own."""
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                parts = name.split(".")
                if parts[0] == "pipelines" and parts[1:2] != ["store"]:
                    base = package.joinpath(*parts[1:])
                    waiting += [each for each in (base.with_suffix(".py"), base / "__init__.py") if each.is_file()]
    return found


def test_every_module_that_the_folds_import_is_hashed_or_said_to_have_no_rules():
    """A module that the folds come to import has to be named: with its rules, or as one that has none."""
    hashed = set(fold_files(PACKAGE, sql_root()))
    missed = (
        imported(
            PACKAGE, [path for room in ("canonical", "fold", "folds", "log") for path in (PACKAGE / room).glob("*.py")]
        )
        - hashed
    )
    assert sorted({".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in missed} - set(NO_RULES)) == []


def test_an_edit_of_any_rule_is_another_hash(copies: tuple[Path, Path]):
    """In a copied tree, module after module: the fold, the log, canonical forms, callers, SQL, upcasters; and known types."""
    package, sql = copies
    seen = {hash_folds(package, sql)}
    assert seen == {identity.fold_hash()}
    edited = fold_files(package, sql)
    for path in edited:
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        seen.add(hash_folds(package, sql))
    (sql / "events" / "weather.changed.v1.json").write_text("{}", encoding="utf-8")
    seen.add(hash_folds(package, sql))
    assert len(seen) == len(edited) + 2


def test_months_snapshots_and_versions_go_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With other code every fold of a month is made anew and a version has another name; with the same, nothing is."""
    said = [
        {"event_type": kind, "payload": {"text": "so"}, "metadata": {}, "seconds": 0}
        for kind in ("user.utterance.v1", "agent.utterance.v1")
    ]
    lake = write_log(tmp_path, one_stream(said))
    month = lake.months("events")[0]
    experiment = parse_experiment("experiment: same\ncandidate: {echo: true}", "test")

    def version() -> str:
        return plan.make_plan(lake, experiment, tmp_path).version_id

    first, snapshots = version(), code_hash(100)
    assert not any(fold.is_written for fold in fold_month(lake, month))
    caches = (identity.fold_hash, identity.version_hash, identity.code_hash)
    read = identity._hash
    monkeypatch.setattr(identity, "_hash", lambda *given: f"other {read(*given)}")
    for each in caches:
        each.cache_clear()
    try:
        assert all(fold.is_written for fold in fold_month(lake, month))
        assert version() != first
        assert code_hash(100) != snapshots
    finally:
        monkeypatch.undo()
        for each in caches:
            each.cache_clear()
    assert version() == first
