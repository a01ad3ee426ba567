"""What the graph says of itself: owners, pools, freshness, retries, checks, active experiments; and the alert of a run that failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest
import yaml

from assets.by_month import Made
from assets.definitions import build_defs, find_nightly
from assets.instance import open_instance, prepare
from assets.schedules import build_alert_sensor
from assets.specs import DATABASE_POOL, ENDPOINT_POOL, key_of
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import register_experiment
from pipelines.lake.lake import Lake
from pipelines.settings import Settings, read_alert_webhook
from pipelines.web.alerts import AlertNotTakenError, post_alert, tell_failure

EXPERIMENT = """
experiment: {name}
baseline: {{recorded: {{}}}}
candidate: {{model: m, base_url: "http://127.0.0.1:9/v1"}}
mode: decision
window: yesterday
budget: {{usd: 1, off_peak: "22:00-06:00 UTC"}}
active: {active}
"""


class _Taker(BaseHTTPRequestHandler):
    """Takes posts as Slack's incoming webhooks do, or answers what it was told to."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server that takes alerts, named in the environment."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taker) as server:
        server.taken, server.status = [], 200
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        monkeypatch.setenv("REFOLD_ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/services/T0/s3cret")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def graph() -> dg.AssetGraph:
    return build_defs().get_repository_def().asset_graph


def test_every_asset_has_a_check_a_kind_and_a_description(graph):
    """None stands without something that looks after it."""
    checked = {key.asset_key for key in graph.asset_check_keys}
    assert graph.materializable_asset_keys == checked
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.kinds
        assert node.description.startswith("One row: ")


def test_a_month_says_where_its_columns_come_from_and_how_many_rows_it_has():
    """Under the names that Dagster's page knows them by; of what is not known, nothing is said."""
    shown = Made("conversation_months", {"row_count": 7, "is_written": True}, "v").shown()
    deps = shown["dagster/column_lineage"].deps_by_column
    assert deps["aggregate_id"] == [dg.TableColumnDep(key_of("events"), "aggregate_id")]
    assert {dep.column_name for dep in deps["started_at"]} == {"payload", "created_at"}
    assert shown["dagster/partition_row_count"] == 7
    assert Made("someones_own", {}, "v").shown() == {}


def test_what_is_nightly_has_to_be_fresh(graph):
    """What the schedule of the open month makes, and nothing else."""
    job = build_defs().get_repository_def().get_job("export_and_fold")
    fresh = {key for key in graph.materializable_asset_keys if graph.get(key).freshness_policy is not None}
    assert fresh == set(job.asset_layer.executable_asset_keys)


def test_steps_wait_for_each_other_by_pool(settings):
    """Those that read much of the store share one pool, those that ask models another; a home's instance takes one run of each."""
    repository = build_defs().get_repository_def()
    pools = {
        name: node.pool
        for job in ("export_and_fold", "seal_month", "replay_experiment")
        for name, node in ((each.name, each.definition) for each in repository.get_job(job).graph.nodes)
        if node.pool
    }
    assert pools == {"export": DATABASE_POOL, "seal": DATABASE_POOL, "replay": ENDPOINT_POOL}
    config = yaml.safe_load((prepare(settings) / "dagster.yaml").read_text(encoding="utf-8"))
    assert config["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
    with open_instance(settings) as instance:
        assert instance.run_retries_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def test_only_what_costs_nothing_is_run_again_by_itself():
    """Jobs of the log are retried twice by the daemon; no other."""
    jobs = build_defs().get_repository_def().get_all_jobs()
    retried = {job.name for job in jobs if "dagster/max_retries" in job.tags}
    assert retried == {"export_and_fold", "seal_month"}


def test_owners():
    """Of every asset, as the environment says; what Dagster would refuse is refused when it is read."""
    owners = Settings.from_env({"REFOLD_OWNERS": "team:support, ada@example.org"}).owners
    graph = build_defs(owners=owners).get_repository_def().asset_graph
    assert all(graph.get(key).owners == ["team:support", "ada@example.org"] for key in graph.materializable_asset_keys)
    assert Settings.from_env({}).owners == ()
    for wrong in ("support", "team:", "team:a b", "a@b", "<b>@x.y z"):
        with pytest.raises(BadInputError, match="REFOLD_OWNERS"):
            Settings.from_env({"REFOLD_OWNERS": wrong})


def test_active_experiments_and_when_they_are_asked(settings, tmp_path):
    """Shown with the replays; an inactive one is not; a lake that cannot be read leaves the page as it is."""
    lake = Lake.from_settings(settings)
    for name, active in (("nightly", "true"), ("idle", "false")):
        register_experiment(lake, parse_experiment(EXPERIMENT.format(name=name, active=active), "x.yaml"), tmp_path)
    assert _shown(settings) == [{"experiment": "nightly", "asked": "22:00-06:00 UTC"}]
    for entry in (Path(lake.table("experiments").path) / "_delta_log").glob("*.json"):
        entry.write_bytes(b"damaged")
    assert _shown(settings) == []


def _shown(settings: Settings) -> list[dict]:
    graph = build_defs(nightly=find_nightly(settings)).get_repository_def().asset_graph
    shown = graph.get(key_of("replays")).metadata.get("active_experiments")
    return [] if shown is None else [dict(record.data) for record in shown.records]


def _fail(instance: dg.DagsterInstance) -> dg.RunFailureSensorContext:
    """What the sensor is told of a run whose step quotes somebody."""

    @dg.op
    def export_like() -> None:
        raise ValueError("Grace Hopper said: <!channel> my card is 4242")

    @dg.job(tags={"dagster/partition": "2026-05"})
    def nightly() -> None:
        export_like()

    result = nightly.execute_in_process(instance=instance, raise_on_error=False)
    return dg.build_run_status_sensor_context(
        sensor_name="failed_runs",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()


def test_a_run_that_failed_is_told(webhook):
    """One post with job, month, step and kind of error; nothing that the error quotes. Off until somebody switches it on."""
    sensor = build_alert_sensor()
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    with dg.DagsterInstance.ephemeral() as instance:
        sensor(_fail(instance))
    ((path, kind, body),) = webhook.taken
    assert (path, kind) == ("/services/T0/s3cret", "application/json")
    assert body["text"].startswith("Refold: nightly of 2026-05 failed at export_like (ValueError); run ")
    assert "Grace" not in json.dumps(body)


def test_an_alert_that_is_not_taken_keeps_the_secret(webhook, monkeypatch):
    """A refusal, a redirection and no server: the tick fails without the address; without one, nothing is done."""
    address = read_alert_webhook()
    for status in (403, 302):
        webhook.status = status
        with pytest.raises(AlertNotTakenError, match=str(status)) as failed:
            post_alert(address, "x")
        assert "s3cret" not in f"{failed.value!r} {failed.value.__cause__} {failed.value.__context__}"
    assert [path for path, _, _ in webhook.taken] == ["/services/T0/s3cret"] * 2, "nobody was led elsewhere"
    with pytest.raises(AlertNotTakenError) as failed:
        post_alert("http://127.0.0.1:1/s3cret", "x")
    assert "s3cret" not in str(failed.value)
    monkeypatch.delenv("REFOLD_ALERT_WEBHOOK")
    with dg.DagsterInstance.ephemeral() as instance:
        build_alert_sensor()(_fail(instance))
    for wrong in ("file:///etc/passwd", "hooks.slack.com/x", "https://a b"):
        with pytest.raises(BadInputError) as refused:
            read_alert_webhook({"REFOLD_ALERT_WEBHOOK": wrong})
        assert wrong not in str(refused.value)


def test_names_are_no_mentions_or_links():
    """An experiment's name is text in a chat, too."""
    told = tell_failure("replay_experiment", "<!channel>", {"replay": "BadInputError"}, "r")
    assert told == "Refold: replay_experiment of &lt;!channel&gt; failed at replay (BadInputError); run r"
