"""A commit is made once, whatever its answer: rows are there exactly once, and every file that a log names exists."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from pipelines.duck import scratch
from pipelines.errors import RefoldError
from pipelines.lake import lake as lake_module
from pipelines.lake.datasets import DATASETS, STREAM_MONTHS, TOOL_CALLS
from pipelines.lake.files import NewFile
from pipelines.lake.lake import Lake
from pipelines.lake.own import own_column, own_dataset
from tests.support.lake_rows import ROWS, contents, register, replace_month
from tests.unit.lake.lost_answers import ERRORS, Commits

OWN = own_dataset("refunds", "one refund", ("id",), (own_column("id", "VARCHAR", "its id"),))


def add_to_month(lake: Lake) -> None:
    replace_month(lake)
    base = lake.last_commit("stream_months", {"month": "2026-01"})
    with (
        scratch() as connection,
        lake.replacing(STREAM_MONTHS, {"month": "2026-01"}, number=base.number + 1) as writer,
    ):
        writer.write_query(connection, ROWS, {"n": 2})
        writer.commit(input_hash="i", kept=base.files)


def stage_month(lake: Lake) -> None:
    with scratch() as connection, lake.replacing(STREAM_MONTHS, {"month": "2026-02"}) as writer:
        writer.write_query(connection, ROWS, {"n": 3})
        writer.write_query(connection, ROWS, {"n": 4})
        writer.commit(input_hash="h")


def empty_month(lake: Lake) -> None:
    replace_month(lake)
    with scratch() as connection:
        lake.write_partition(STREAM_MONTHS, {"month": "2026-01"}, connection, ROWS, {"n": 0}, input_hash="j")


def begin_own_anew(lake: Lake) -> None:
    lake.begin(OWN)
    table = lake.table("refunds")
    if table.number({"month": "2026-01"}) == 0:
        file = NewFile(table.path, table.new_path({"month": "2026-01"}), OWN.data_schema(), OWN.bounded)
        file.write(pa.table({"id": ["a"]}), 1)
        table.commit([file.close()], {"month": "2026-01"}, 1)
    lake.begin(
        own_dataset("refunds", "one refund", ("id",), (*OWN.columns[1:], own_column("usd", "DOUBLE", "dollars")))
    )


def widen(lake: Lake) -> None:
    narrow = replace(TOOL_CALLS, columns=tuple(c for c in TOOL_CALLS.columns if c.name != "error"))
    Lake.table(lake, "tool_calls").dataset = narrow
    lake.table("tool_calls").create()
    lake.table("tool_calls").dataset = TOOL_CALLS
    lake.table("tool_calls").create()
    assert {f.name for f in lake.table("tool_calls").load().schema().fields} == set(TOOL_CALLS.column_names)


WRITERS = [replace_month, add_to_month, stage_month, empty_month, register, begin_own_anew, widen]


@pytest.fixture(autouse=True)
def few_files(monkeypatch):
    """Registry tables are merged early, so that every writer merges."""
    monkeypatch.setattr(lake_module, "_COMMIT_FILES", 2)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_landed_is_taken_for_done(writer, tmp_path, monkeypatch):
    """Every commit of a writer loses its answer, by each kind of error: it ends well, and the lake is the same."""
    writer(Lake(tmp_path / "calm"))
    wanted = contents(tmp_path / "calm")
    assert any(wanted.values()) or writer in (widen, begin_own_anew)
    for number, error in enumerate(ERRORS[:2] if writer in (add_to_month, empty_month) else ERRORS[2:]):
        root = tmp_path / str(number)
        with monkeypatch.context() as patch:
            commits = Commits(patch, lambda _call: True, lands=True, error=error)
            writer(Lake(root))
            assert commits.hits == commits.made > 0
        assert contents(root) == wanted


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("writer", WRITERS)
def test_an_error_at_each_call(writer, lands, tmp_path, monkeypatch):
    """One call after another fails: what landed is kept, a conflict is tried again; else the error is raised, and doing it again heals."""
    with monkeypatch.context() as patch:
        calm = Commits(patch, lambda _call: False, lands=True, error=OSError())
        writer(Lake(tmp_path / "calm"))
    wanted = contents(tmp_path / "calm")
    for number in range(1, calm.made + 1):
        for error in (OSError("gone"), CommitFailedError("409")) if not lands else (DeltaError("gone"),):
            root = tmp_path / f"{number}-{type(error).__name__}"
            with monkeypatch.context() as patch:
                Commits(patch, lambda call, number=number: call == number, lands=lands, error=error)
                try:
                    writer(Lake(root))
                except OSError:
                    assert not lands
                    contents(root)  # readable, and no file is missing
                    if writer is register:
                        continue  # what had been registered before the error is; once more would be another registration
                    writer(Lake(root))
            assert {**contents(root), "commits": None} == {**wanted, "commits": None}


def test_an_answer_that_was_late(tmp_path, monkeypatch):
    """The first try lands only after it was given up and tried again: it is one commit, and no loser."""
    lake = Lake(tmp_path)
    replace_month(lake)
    table = lake.table("stream_months")
    late = []
    original = table.load().__class__.create_write_transaction

    def delayed(self, *arguments, **options):
        if "stream_months" not in self.table_uri:
            return original(self, *arguments, **options)
        if not late:
            late.append((arguments, options))
            raise CommitFailedError("no answer yet")
        again = table.load().__class__(str(table.path))
        original(again, *late[0][0], **late[0][1])
        return original(self, *arguments, **options)

    monkeypatch.setattr("deltalake.DeltaTable.create_write_transaction", delayed)
    with scratch() as connection, lake.replacing(STREAM_MONTHS, {"month": "2026-01"}) as writer:
        writer.write_query(connection, ROWS, {"n": 5})
        version = writer.commit(input_hash="h").delta_version
    monkeypatch.undo()
    assert version == Lake(tmp_path).table("stream_months").load().version()
    assert sum(contents(tmp_path)["stream_months"].values()) == 5


def test_another_ones_token_is_not_taken_for_ours(tmp_path):
    """Who loses the number to another writer is told so, and the other's rows stay."""
    first, second = Lake(tmp_path), Lake(tmp_path)
    replace_month(first)
    with scratch() as connection, second.replacing(STREAM_MONTHS, {"month": "2026-01"}) as writer:
        writer.write_query(connection, ROWS, {"n": 1})
        replace_month(first)
        with pytest.raises(RefoldError, match="another writer made commit 2"):
            writer.commit(input_hash="h")


def test_every_commit_carries_a_token(tmp_path):
    """The log of every kind of table says a token with each of its versions, no two alike."""
    lake = Lake(tmp_path)
    for writer in WRITERS:
        writer(lake)
    for name in lake.datasets():
        delta = lake.table(name).load()
        if delta is not None:
            tokens = [info["refold.token"] for info in delta.history()]
            assert len(set(tokens)) == delta.version() + 1
    assert {name for name in DATASETS if lake.table(name).load() is not None} >= {"commits", "experiments"}
