"""What runs by itself, once somebody switched it on in the UI: imports, exports, seals, late folds, active experiments.

`active_experiments` alone starts work that can cost money, within the budgets of the experiments and of the day, and
`finished_batches` goes on with what was begun; no other schedule or sensor selects a replay or what depends on one.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.internals import UnresolvedAssetJobDefinition
from assets.jobs import select_free
from assets.partitions import MONTH_FORMAT
from assets.resources import Home
from pipelines.settings import read_alert_webhook

_BATCHES_EVERY = 300
"""Seconds between two looks at batches, which take hours."""


def build_schedules(jobs: Sequence[UnresolvedAssetJobDefinition]) -> list[dg.ScheduleDefinition]:
    """`open_month`: at 02:15 UTC, the month that is running, and the one before it on the first day.

    `closed_month`: on the third day of a month, the seal of the month before it. Until then come what writers held back
    while the store was away, and imports of the last days.
    """
    export_and_fold, seal = jobs

    @dg.schedule(
        name="open_month",
        job=export_and_fold,
        cron_schedule="15 2 * * *",
        execution_timezone="UTC",
        description="Export and fold the open month; on the first day of a month also the month just ended.",
    )
    def open_month(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        now = context.scheduled_execution_time.astimezone(UTC)
        for month in months_at(now):
            yield dg.RunRequest(run_key=f"{month} {now:%Y-%m-%d}", partition_key=month)

    @dg.schedule(
        name="closed_month",
        job=seal,
        cron_schedule="15 4 3 * *",
        execution_timezone="UTC",
        description="Seal the month just closed, on the third day of the next.",
    )
    def closed_month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        month = month_before(context.scheduled_execution_time.astimezone(UTC))
        return dg.RunRequest(run_key=month, partition_key=month)

    return [open_month, closed_month]


def build_replay_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """`active_experiments`: at 03:15 UTC, when the open month is done, one run for each experiment that is active.

    A window of whole days (`yesterday`, `last: 7d`) makes every night another version; one that is complete costs nothing.
    """

    @dg.schedule(
        name="active_experiments",
        job=job,
        cron_schedule="15 3 * * *",
        execution_timezone="UTC",
        description="Replay the experiments that say `active: true`; models cost money, within the budgets.",
    )
    def active_experiments(
        context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from pipelines.experiment.registry import list_active

        day = context.scheduled_execution_time.astimezone(UTC)
        active = list_active(home.lake)
        for name in active:
            yield dg.RunRequest(run_key=f"{name} {day:%Y-%m-%d}", partition_key=name)
        if not active:
            yield dg.SkipReason("no experiment says active: true")

    return active_experiments


def build_vacuum_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """`nightly_vacuum`: at 04:45 UTC, when the open month is done."""
    return dg.ScheduleDefinition(
        name="nightly_vacuum",
        job=job,
        cron_schedule="45 4 * * *",
        execution_timezone="UTC",
        description="Remove the lake's files that nobody needs any more.",
    )


def build_retention_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """`retention`: at 05:15 UTC on Sundays; without REFOLD_RETENTION it does nothing, though it is switched on."""

    @dg.schedule(
        name="retention",
        job=job,
        cron_schedule="15 5 * * 0",
        execution_timezone="UTC",
        description="Erase conversations and calls older than REFOLD_RETENTION, as 400d. What is erased does not come back.",
    )
    def retention(context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]) -> dg.RunRequest | dg.SkipReason:
        days = home.settings.retention_days
        if days is None:
            return dg.SkipReason("REFOLD_RETENTION is not set; write a number of days, as 400d")
        day = context.scheduled_execution_time.astimezone(UTC)
        config = {"ops": {"erase_older": {"config": {"older_than_days": days}}}}
        return dg.RunRequest(run_key=f"{day:%Y-%m-%d}", run_config=config)

    return retention


def build_follow_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """`follow`: every ten minutes, where a folder of REFOLD_FOLLOW has files that are new or have grown."""

    @dg.schedule(
        name="follow",
        job=job,
        cron_schedule="*/10 * * * *",
        execution_timezone="UTC",
        description="Import the files of the folders in REFOLD_FOLLOW, as otlp:/var/otel, that are new or have grown.",
    )
    def follow(context: dg.ScheduleEvaluationContext, home: dg.ResourceParam[Home]) -> dg.RunRequest | dg.SkipReason:
        from pipelines.ingest.follow.passing import Followed, has_work

        settings = home.settings
        if not settings.follow:
            return dg.SkipReason("REFOLD_FOLLOW is not set; write FORM:FOLDER, as otlp:/var/otel")
        if not any(has_work(Followed(form, folder), settings.home) for form, folder in settings.follow):
            return dg.SkipReason("no file is new, and none has grown")
        return dg.RunRequest(run_key=f"{context.scheduled_execution_time.astimezone(UTC):%Y-%m-%d %H:%M}")

    return follow


def months_at(now: datetime) -> list[str]:
    """The months with events of the last day, ascending: one, or two on the first day of a month."""
    return sorted({f"{at:{MONTH_FORMAT}}" for at in (now - timedelta(days=1), now)})


def month_before(now: datetime) -> str:
    """The month that ended before the one of `now`."""
    return f"{now.replace(day=1) - timedelta(days=1):{MONTH_FORMAT}}"


def build_sensors(own: Sequence[str], replay: UnresolvedAssetJobDefinition) -> list[dg.SensorDefinition]:
    """`late_months`: evaluates the conditions of the folds, and of nothing else. `finished_batches`: goes on with replays."""

    @dg.sensor(
        name="finished_batches",
        job=replay,
        minimum_interval_seconds=_BATCHES_EVERY,
        description="Go on with replays whose batches are done; what is asked again may cost money, within their budgets.",
    )
    def finished_batches(
        context: dg.SensorEvaluationContext, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from pipelines.replay.batch.finished import find_finished

        found = find_finished(home.settings, context.log.warning)
        for each in found:
            # a run that fails is started again, but not at every look
            key = f"{' '.join(each.tokens)} {datetime.now(UTC):%Y-%m-%d %H}"
            config = {"retry_failed": each.is_retry, "versions": list(each.versions)}
            yield dg.RunRequest(
                run_key=key, partition_key=each.experiment, run_config={"ops": {"replay": {"config": config}}}
            )
        if not found:
            yield dg.SkipReason("no batch is done, or none is under way")

    return [
        dg.AutomationConditionSensorDefinition(
            "late_months",
            target=select_free(own),
            description="Fold a month again when its events were exported again.",
        ),
        finished_batches,
    ]


def build_alert_sensor() -> dg.SensorDefinition:
    """`failed_runs`: off until it is switched on in the page; without REFOLD_ALERT_WEBHOOK it does nothing."""

    @dg.run_failure_sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.STOPPED,
        description='Post each run that failed to REFOLD_ALERT_WEBHOOK, as {"text": ...}.',
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        from pipelines.web.alerts import post_alert, tell_failure

        address = read_alert_webhook()
        if address is None:
            return dg.SkipReason("REFOLD_ALERT_WEBHOOK is not set")
        run = context.dagster_run
        failed = [event for event in context.get_step_failure_events() if event.step_key is not None]
        steps = {str(event.step_key): _kind_of(event) for event in failed}
        post_alert(address, tell_failure(run.job_name, run.tags.get("dagster/partition"), steps, run.run_id))
        return None

    return failed_runs


def _kind_of(event: dg.DagsterEvent) -> str:
    """The class of what a step raised: that of the library, where Dagster wrapped it."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.cls_name or "an error" if error is not None else "an error"
