"""Verbs that are accesses say so in the log: once, with a reason, before anything is sent; and in the view `access`."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home
from assets.verbs.compare import compare
from assets.verbs.months import export_months, fold_months
from pipelines.diff.check import read_checked
from pipelines.diff.result import DiffResult
from pipelines.errors import BadInputError
from pipelines.experiment.registry import register_experiment
from pipelines.home import find_behind
from pipelines.lake.lake import Lake
from pipelines.replay.replan import read_candidate, replan
from pipelines.settings import Settings
from pipelines.store import PermissionDenied, Store, connect
from tests.support.model_server import ModelServer, serving
from tests.support.roles import logged_in
from tests.support.two_months import JANUARY, say

JOE = "joe-17"


@pytest.fixture
def store_settings(folded_settings: Settings) -> Settings:
    """A home with six conversations, exported and folded."""
    return folded_settings


@pytest.fixture
def streams(store: Store) -> list[UUID]:
    """The six conversations."""
    return [stream for (stream,) in store.conn.execute("SELECT aggregate_id FROM refold.streams ORDER BY aggregate_id")]


def outer_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
            address = asking.getsockname()[0]
            socket.create_server((address, 0)).close()
        except OSError:
            pytest.skip("this machine has no address but loopback")
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return str(address)


def accesses(store: Store) -> list[dict[str, Any]]:
    """Payloads of all accesses, in order."""
    rows = store.conn.execute(
        "SELECT payload FROM refold.events WHERE aggregate_type = 'access' ORDER BY position"
    ).fetchall()
    return [row[0] for row in rows]


def experiment_at(server: ModelServer, folder: Path, rest: str = "", draws: int = 1) -> Path:
    path = folder / "asked.yaml"
    asked = f"{{model: m, base_url: '{server.base_url}', draws: {draws}}}"
    path.write_text(f"experiment: asked\ncandidate: {asked}\n{rest}", encoding="utf-8")
    return path


def compared(settings: Settings, path: Path) -> list[DiffResult]:
    """What `refold ab FILE` does."""
    checked = read_checked(path, settings)
    return compare(settings, Lake.from_settings(settings), checked.experiment, path.parent, lambda _line: None)


def test_a_replay_that_sends_texts_away_is_an_access_before_the_first_is_sent(store_settings, store, streams, tmp_path):
    """Recorded once per version, endpoint and run, with all conversations of the version, when the first request comes in; a run
    that is answered by what was paid for records nothing; `reason` changes no version."""
    address, known = outer_address(), []

    def look(_number: int) -> None:
        with connect(store.dsn) as conn:
            known.append(len(accesses(Store(conn, store.dsn))))

    with serving(host=address, status=look) as server:
        settings = replace(store_settings, endpoints=(server.base_url,))
        (first,) = compared(settings, experiment_at(server, tmp_path))
        assert known
        assert set(known) == {1}
        (told,) = accesses(store)
        assert (told["verb"], told["reason"], told["endpoint"], told["version_id"]) == (
            "replay",
            "asked",
            server.base_url,
            first.version_id,
        )
        assert {target["stream"] for target in told["targets"]} == set(map(str, streams))
        heads = dict(store.conn.execute("SELECT aggregate_id::text, stream_version FROM refold.streams").fetchall())
        assert all((each["first"], each["last"]) == (1, heads[each["stream"]]) for each in told["targets"])

        (again,) = compared(settings, experiment_at(server, tmp_path, "reason: ticket 7\n"))
        assert (again.version_id, again.is_written, len(accesses(store))) == (first.version_id, False, 1)
        (more,) = compared(settings, experiment_at(server, tmp_path, "reason: ticket 7\n", draws=2))
        assert more.version_id != first.version_id
        assert [each["reason"] for each in accesses(store)] == ["asked", "ticket 7"]
    assert find_behind(settings, Lake.from_settings(settings)).waiting == {}


def test_a_replay_on_this_machine_is_no_access(store_settings, store, streams, tmp_path):
    """What is asked at a loopback address leaves nothing."""
    with serving() as server:
        compared(store_settings, experiment_at(server, tmp_path))
        assert server.paid.total()
    assert accesses(store) == []


def test_nothing_is_sent_that_cannot_be_recorded(store_settings, store, streams, tmp_path):
    """Where the record is refused the run fails, the error says what it takes, and the endpoint saw no request; what would send
    texts without anybody to record it is refused."""
    with serving(host=outer_address()) as server, logged_in(store, "refold_reader") as conn:
        dsn = store.dsn.replace("refold@", f"{conn.info.user}@", 1)
        settings = replace(store_settings, endpoints=(server.base_url,), dsn=dsn)
        path = experiment_at(server, tmp_path)
        with pytest.raises(PermissionDenied, match="this access cannot be recorded"):
            compared(settings, path)
        with pytest.raises(BadInputError, match="nobody records it"):
            replan(Lake.from_settings(settings), str(streams[0]), 1, read_candidate(path), tmp_path, settings=settings)
        assert server.calls.total() == 0


def test_the_nightly_run_gives_the_name_as_its_reason(store_settings, store, streams, tmp_path):
    """A run that Dagster starts from the registered experiment records it, without anybody who could say why."""
    with serving(host=outer_address()) as server:
        settings = replace(store_settings, endpoints=(server.base_url,))
        compared(settings, experiment_at(server, tmp_path))
        path = experiment_at(server, tmp_path, draws=3)
        checked = read_checked(path, settings)
        register_experiment(Lake.from_settings(settings), checked.experiment, path.parent)
        with open_instance(settings) as instance, Home(settings) as home:
            job = build_defs({"home": home}).resolve_job_def("replay_experiment")
            assert job.execute_in_process(instance=instance, partition_key="asked").success
    assert [each["reason"] for each in accesses(store)] == ["asked", "asked"]


def test_an_erasure_is_an_access_of_what_it_takes(refold, store, streams):
    """The same targets in both events; a dry run, what is on hold and what is not there are no accesses."""
    stream = streams[0]
    assert refold("erase", "--stream", str(stream), "--reason", "ticket 7", "--dry-run")[0] == 0
    placed = json.loads(refold("hold", "--stream", str(stream), "--reason", "case 7", "--json")[1])["hold"]
    assert refold("erase", "--stream", str(stream), "--reason", "ticket 7")[0] == 1
    assert [each["verb"] for each in accesses(store)] == ["hold"]
    assert refold("hold", "--lift", placed, "--reason", "case 7 is closed")[0] == 0
    assert refold("erase", "--stream", str(stream), "--reason", " ticket 7 ")[0] == 0
    held, lifted, erased = accesses(store)
    assert [(each["verb"], each["reason"]) for each in (held, lifted, erased)] == [
        ("hold", "case 7"),
        ("hold", "case 7 is closed"),
        ("erase", "ticket 7"),
    ]
    ((payload,),) = store.conn.execute("SELECT payload FROM refold.events WHERE aggregate_type = 'erasure'").fetchall()
    assert [dict(each, is_whole=True) for each in erased["targets"]] == payload["targets"]
    assert held["targets"] == lifted["targets"] == [{"stream": str(stream)}]


def test_accesses_are_in_the_view_and_in_nothing_else(refold, store, store_settings, streams):
    """One row for each stream; no remark that the lake is behind while they wait; folded tables are as they were."""
    before = refold("sql", "SELECT * FROM conversations ORDER BY aggregate_id", "--json")
    refold("hold", "--stream", str(streams[0]), "--reason", "case 7")
    code, _, err = refold("sql", "SELECT count(*) FROM events", "--json")
    assert (code, "not in the lake" in err) == (0, False)
    export_months(store_settings, None, lambda _line: None)
    fold_months(store_settings, None, None, lambda _line: None)
    rows = json.loads(refold("sql", "SELECT * FROM access", "--json")[1])["rows"]
    (row,) = rows
    assert (row["verb"], row["reason"], row["aggregate_id"], row["first_version"], row["is_erased"]) == (
        "hold",
        "case 7",
        str(streams[0]),
        None,
        False,
    )
    assert refold("sql", "SELECT * FROM conversations ORDER BY aggregate_id", "--json")[:2] == before[:2]
    lines = store_settings.home / "out.jsonl"
    assert refold("lines", "-o", str(lines))[0] == 0
    assert "case 7" not in lines.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("unseal", "2026-01"),
        ("unseal", "2026-01", "--reason", " "),
        ("hold", "--customer", JOE),
        ("hold", "--lift", str(uuid4())),
        ("erase", "--customer", JOE),
        ("erase", "--customer", JOE, "--reason", ""),
    ],
)
def test_without_a_reason_nothing_is_done(refold, store, words):
    """Exit code 2, one sentence that says what it is for, and the store as it was."""
    code, out, err = refold(*words)
    assert (code, out) == (2, "")
    assert "--reason is " in err
    assert accesses(store) == []


def test_a_hold_does_not_name_the_person_in_its_reason(refold, store):
    """An access names nobody: the reason of a hold on a person may not contain the person's id."""
    code, _, err = refold("hold", "--customer", JOE, "--reason", f"{JOE} complained")
    assert (code, "the person's id" in err) == (2, True)
    code, _, _ = refold("hold", "--customer", JOE, "--reason", "case 7")
    assert code == 0
    assert JOE not in json.dumps(accesses(store))


def test_unsealing_is_an_access_of_a_month(refold, store, store_settings):
    """Recorded in the same transaction, with the month; a month that is not sealed is no access."""
    say(store, uuid4(), JANUARY, texts=1)
    assert refold("seal", "2026-01")[0] == 0
    assert refold("unseal", "2026-01", "--reason", "a late call")[0] == 0
    assert refold("unseal", "2026-01", "--reason", "a late call")[0] != 0
    (told,) = accesses(store)
    assert (told["verb"], told["reason"], told["month"], told["targets"]) == ("unseal", "a late call", "2026-01", [])
