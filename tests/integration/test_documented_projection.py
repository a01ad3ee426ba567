"""The projection that the docs show, run as it is written there, beside a count in plain Python."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.demo.desk import generate
from pipelines.demo.load import load_demo
from pipelines.projections.relations import RELATIONS
from tests.support.verbs import run_verb

ROOT = Path(__file__).resolve().parents[2]
EVENTS = 1_500


@pytest.fixture
def section() -> str:
    """The example of `docs/projections.md`."""
    text = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
    match = re.search(r"^## An example$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert match
    return match[1]


def test_the_example_runs_as_it_is_written(section, store, store_settings, monkeypatch, capsys):
    """File and commands of the page, word for word, give what the events add up to."""
    monkeypatch.chdir(store_settings.home.parent)
    monkeypatch.setenv("REFOLD_HOME", ".refold")
    monkeypatch.setenv("REFOLD_DSN", store_settings.dsn)
    monkeypatch.delenv("REFOLD_LAKE", raising=False)
    load_demo(store, EVENTS)

    def run(command: str) -> str:
        code = run_verb(monkeypatch, *shlex.split(command, comments=True)[1:])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    run("refold export")
    [(path, query)] = re.findall(r"```sql\n-- (\.refold/folds/\w+\.sql)\n(.*?)```", section, re.DOTALL)
    [commands] = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text(query, encoding="utf-8")
    check, fold, select = commands.strip().splitlines()
    assert "refunds_per_day: one UTC day with a refund; reads events" in run(check)
    assert "refunds_per_day" in run(fold)
    rows = json.loads(run(f"{select} --json"))["rows"]

    paid: dict[str, list[Decimal]] = defaultdict(list)
    for batch in generate(EVENTS):
        for event in batch.events:
            after = event.payload.get("after") or {}
            if (
                event.event_type == "row.changed.v1"
                and event.payload["table"] == "refunds"
                and after["status"] == "paid"
            ):
                paid[f"{event.created_at:%Y-%m-%d}"].append(Decimal(str(after["amount_usd"])))
    expected = [(day, len(amounts), sum(amounts)) for day, amounts in sorted(paid.items())]
    assert expected
    assert [(row["day"], row["refunds"], Decimal(row["refunded_usd"])) for row in rows] == expected


def test_the_documented_relations_are_those_that_there_are():
    """docs/projections.md names every relation with what one row is, and every column of `events`."""
    text = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
    for name, relation in RELATIONS.items():
        assert f"| `{name}` | {relation.rows} |" in text
    [listed] = re.findall(r"`events` has the columns (.*?)\. The other", text, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == [column.name for column in RELATIONS["events"].columns]
