"""A judge from an experiment's file to the page: asked both ways round and once, and told of only beside what people say."""

from __future__ import annotations

import json
import shutil

import pytest

from pipelines.diff.versions import find_definition
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.judge.run import Judging
from pipelines.judge.told import render_judge
from pipelines.lake.lake import Lake
from pipelines.replay.asking.asker import EndpointError
from pipelines.review.headline import find_version
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.verdicts.desk import Desk, Queue
from pipelines.verdicts.sampling import Design
from pipelines.verdicts.table import keep_review, summarise_review
from tests.support.databases import copied_database, filled_template
from tests.support.history import query
from tests.support.model_server import serving
from tests.support.shop import add, conversation, run
from tests.support.verbs import run_verb

TASKS = 12
TEXT = """
experiment: judged
baseline: {{recorded: {{source: shop, variant: v1}}}}
candidate: {{recorded: {{source: shop, variant: v2}}}}
mode: conversation
judge:
  model: m
  base_url: "{url}"
  rubric_file: rubric.md
  price: {{input_usd: 10, output_usd: 10}}
  params: {{max_completion_tokens: 50}}
"""


@pytest.fixture(scope="module")
def shop(server, template, tmp_path_factory):
    """A database and its lake, in which a version is complete: the second variant refunds half of odd tasks."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "rubric.md").write_text("Who pays back all that was paid.", encoding="utf-8")
    lines = [
        conversation(task, variant, 10.0 * (0.5 if variant == "v2" and task % 2 else 1.0), f"2026-01-{task + 1:02d}")
        for task in range(TASKS)
        for variant in ("v1", "v2")
    ]

    def fill(store, lake):
        add(store, lake, folder, lines)
        run(lake, TEXT.format(url="http://127.0.0.1:1/v1"), folder)

    with filled_template(server, template, folder / "lake", fill) as name:
        yield name, folder


@pytest.fixture
def settings(shop, server, tmp_path):
    """Of a home with a copy of that lake, and that store."""
    name, folder = shop
    shutil.copytree(folder / "lake", tmp_path / "lake")
    with copied_database(server, name) as copy:
        yield Settings(home=tmp_path, dsn=server.dsn_of(copy), lake=tmp_path / "lake", memory_bytes=3 * 10**9)


def fair(body):
    """Prefers the reply that names the larger refund, wherever it stands; of task 3 always the first."""
    document = json.loads(body["messages"][1]["content"])
    paid = [
        sum(json.loads(call["arguments"]).get("amount_usd", 0) for call in document[name]["tool_calls"])
        for name in ("first", "second")
    ]
    is_odd_one = any('"id":3' in call["arguments"].replace(" ", "") for call in document["first"]["tool_calls"])
    winner = "first" if is_odd_one or paid[0] > paid[1] else "second" if paid[1] > paid[0] else "tie"
    return {"role": "assistant", "content": json.dumps({"winner": winner})}


def judging(settings, shop, url, text=TEXT, **changes):
    lake = Lake.from_settings(settings)
    experiment = parse_experiment(text.format(url=url), "e.yaml")
    if changes:
        experiment = experiment.model_copy(update={"judge": experiment.judge.model_copy(update=changes)})
    version = find_version(lake, "judged")
    return lake, version, Judging(lake, experiment, shop[1], version, settings)


def test_a_judge_is_asked_both_ways_round_and_once(settings, shop):
    """Two requests a pair whose sides differ, priced before; what both orders say is the choice; run again, nobody is asked and nothing is written."""
    with serving(answer=fair, keep_bodies=True) as server:
        lake, _, judge = judging(settings, shop, server.base_url)
        price = judge.price()
        done = judge.run()
        assert len(server.bodies) == TASKS == price.requests
        again = judge.run()
        assert judge.price().kept == TASKS
        assert len(server.bodies) == TASKS
    assert (done.pairs, done.failed, done.is_written, again.is_written) == (TASKS, 0, True, False)
    assert price.usd > 0
    rows = query(
        lake,
        "SELECT choice, choice_a_first, choice_b_first, count(*), bool_and(cost_usd > 0) FROM judgements GROUP BY ALL ORDER BY ALL",
    )
    assert rows == [
        ("same", "same", "same", 6, False),
        ("same", "worse", "better", 1, True),
        ("worse", "worse", "worse", 5, True),
    ]
    assert all(name not in json.dumps(server.bodies) for name in ("v2", "candidate", "baseline", "judged"))


def test_it_is_no_part_of_a_version_and_another_rubric_is_another_judge(settings, shop):
    """`version_id` and what determines a version stay; the judge's own id moves with rubric, model and parameters."""
    _, folder = shop
    lake, version, judge = judging(settings, shop, "http://127.0.0.1:1/v1")
    without = parse_experiment(TEXT.format(url="x").split("judge:")[0], "e.yaml")
    assert make_plan(lake, without, folder).version_id == version.version_id
    assert "judge" not in find_definition(lake, version.partition)
    others = [
        judging(settings, shop, "http://127.0.0.1:1/v1", **change)[2]
        for change in ({"model": "n"}, {"params": {"seed": 1}})
    ]
    (folder / "other.md").write_text("Who is short.", encoding="utf-8")
    others.append(judging(settings, shop, "http://127.0.0.1:1/v1", rubric_file="other.md")[2])
    more = judging(settings, shop, "http://127.0.0.1:1/v1", pairs=3)[2]
    assert len({judge.judge_id, *(each.judge_id for each in others)}) == 4
    assert more.judge_id == judge.judge_id


def test_no_number_is_told_before_people_have_spoken(settings, shop):
    """Then it stands beside their agreement, in the table and in words; the version's own tables never moved."""
    with serving(answer=fair) as server:
        lake, version, judge = judging(settings, shop, server.base_url)
        before = {each: lake.last_commit(each, version.partition).number for each in ("ab_units", "ab_summary")}
        done = judge.run()
    with Store.open(settings) as store:
        lines = summarise_review(lake, store, version)
        keep_review(lake, version, lines)
        numbers = query(
            lake, "SELECT count(*), count(estimate), count(low) FROM review_summary WHERE metric LIKE 'judge%'"
        )
        assert numbers == [(7, 0, 0)]
        told = render_judge("judged", "m", done, lines)
        assert "no number of it is shown: nobody judged any of these pairs" in told
        assert "%" not in told
        choices = dict(query(lake, "SELECT unit_id, choice FROM judgements"))
        for name in ("ada", "bob"):
            with Desk.open(settings, lake, version, name, Queue(Design(size=TASKS), 2)) as desk:
                while (pair := desk.next()) is not None:
                    choice = choices[pair.unit_id]
                    desk.record(pair, choice, None, 1.0)
        lines = summarise_review(lake, store, version)
        keep_review(lake, version, lines)
    found = dict(query(lake, "SELECT metric, estimate FROM review_summary WHERE segment = 'all'"))
    assert found["judge_agreement_ac1"] == pytest.approx(1)
    assert found["judge_net"] == found["judge_net_debiased"] == pytest.approx(found["net"]) == pytest.approx(-5 / 12)
    assert found["judge_consistent"] == pytest.approx(11 / 12)
    told = render_judge("judged", "m", done, lines)
    assert "agreement with people, beyond chance (AC1)" in told
    assert f"over {TASKS} pairs that both judged" in told
    assert before == {each: lake.last_commit(each, version.partition).number for each in before}


def test_answers_that_are_none_are_rows_and_asked_again(settings, shop):
    """What is no choice has a reason, and is told; a judge that nobody can reach writes nothing."""
    with serving(answer=lambda _body: {"role": "assistant", "content": "B, I think"}) as server:
        lake, _, judge = judging(settings, shop, server.base_url)
        done = judge.run()
    assert (done.pairs, done.failed) == (TASKS, TASKS // 2)
    assert query(lake, "SELECT choice, reason, count(*) FROM judgements GROUP BY ALL ORDER BY ALL") == [
        ("same", None, TASKS // 2),
        (None, "unreadable", TASKS // 2),
    ]
    with pytest.raises(EndpointError):
        judging(settings, shop, "http://127.0.0.1:9/v1")[2].run()
    with pytest.raises(BadInputError, match="REFOLD_ENDPOINTS"):
        judging(settings, shop, "https://api.example.com/v1")[2].run()
    empty = shop[1] / "empty.md"
    empty.write_text(" \n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"empty\.md says nothing"):
        judging(settings, shop, "http://127.0.0.1:1/v1", rubric_file="empty.md")


def test_the_verb_asks_tells_and_prices(settings, shop, monkeypatch, capsys):
    """`refold ab` asks the judge of a complete version, says why it shows no number, and with --dry-run what it would cost."""
    home = settings.home
    monkeypatch.setenv("REFOLD_HOME", str(home))
    monkeypatch.setenv("REFOLD_DSN", str(settings.dsn))
    monkeypatch.chdir(home)
    shutil.copy(shop[1] / "rubric.md", home)

    def said(*arguments):
        code = run_verb(monkeypatch, "ab", "e.yaml", *arguments)
        return code, capsys.readouterr()

    with serving(answer=fair) as server:
        (home / "e.yaml").write_text(TEXT.format(url=server.base_url), encoding="utf-8")
        _, priced = said("--dry-run")
        assert sum(server.calls.values()) == 0
        code, page = said()
        assert code == 0, page.err
        told = json.loads(said("--json")[1].out)
        assert sum(server.calls.values()) == TASKS
    assert f"judge: {TASKS} requests to m, 0 of them paid for before" in priced.out
    assert "no number of it is shown" in page.out
    assert [line["estimate"] for line in told["judge"][0]["lines"]] == [None] * 7
    (home / "rubric.md").unlink()
    code, wrong = said()
    assert (code, wrong.out) == (2, "")
    assert "judge.rubric_file" in wrong.err
