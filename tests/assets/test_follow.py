"""The schedule that follows folders, and the job that it starts."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location

from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home

NAME = "follow"


def write(path: Path, *names: str) -> Path:
    """A file of conversations of these names, left alone for an hour."""
    path.parent.mkdir(exist_ok=True)
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    lines = [{"source": "s", "conversation_id": name, "messages": said} for name in names]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    at = time.time() - 3_600 + len(names)
    os.utime(path, (at, at))
    return path


def asked(settings) -> tuple[list[str], str | None]:
    """The keys of the runs that the schedule asks for at its next tick, or why it asks for none."""
    with open_instance(settings) as instance, Home(settings) as home:
        repository = build_defs({"home": home}).get_repository_def()
        schedule = repository.get_schedule_def(NAME)
        assert schedule.default_status.value == "STOPPED"
        at = datetime(2026, 5, 1, 12, 10, tzinfo=UTC)
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=repository, resources={"home": home}
        ) as context:
            told = schedule.evaluate_tick(context)
        return [each.run_key for each in told.run_requests], told.skip_message


def run(settings) -> tuple[bool, dict[str, object]]:
    """Whether the job succeeded, and its metadata."""
    with open_instance(settings) as instance, Home(settings) as home:
        definitions = build_defs({"home": home})
        schedule = definitions.get_repository_def().get_schedule_def(NAME)
        done = definitions.resolve_job_def(schedule.job_name).execute_in_process(
            instance=instance, raise_on_error=False
        )
        found = {}
        for event in done.all_events:
            if event.is_successful_output:
                found = {name: value.value for name, value in event.step_output_data.metadata.items()}
            elif event.is_step_failure:
                found = {"why": event.step_failure_data.user_failure_data.description}
        return done.success, found


def test_the_schedule_follows(store_settings, store, tmp_path):
    """It asks for nothing until it is configured, and then for a run where there is a file to read; the job imports each once."""
    assert "REFOLD_FOLLOW is not set" in asked(store_settings)[1]
    folder = tmp_path / "logs"
    settings = replace(store_settings, follow=(("chat", folder),))
    write(folder / "a.jsonl", "a")
    assert asked(settings)[0] == ["2026-05-01 12:10"]
    is_done, told = run(settings)
    assert (is_done, told["new_files"], told["streams"], told["refused_files"]) == (True, 1, 1, 0)
    assert "no file is new" in asked(settings)[1]
    write(folder / "a.jsonl", "a", "b")
    assert asked(settings)[0] == ["2026-05-01 12:10"]
    assert run(settings)[1]["grown_files"] == 1
    streams = store.conn.execute("SELECT count(DISTINCT aggregate_id) FROM refold.events").fetchone()
    assert streams == (2,)


def test_a_refused_file_fails_the_run_that_met_it(store_settings, store, tmp_path):
    """All others are imported, a folder that is not there holds up no other, and no run is asked for until something changes."""
    settings = replace(store_settings, follow=(("otlp", tmp_path / "none"), ("chat", tmp_path / "logs")))
    write(tmp_path / "logs" / "a.jsonl", "a")
    write(tmp_path / "logs" / "b.jsonl").write_text("[]\n[]\n")
    os.utime(tmp_path / "logs" / "b.jsonl", (0, 0))
    is_done, told = run(settings)
    assert not is_done
    assert str(told["why"]).endswith(
        "none is no folder; name one whose files are to be imported; refused files: 1; "
        "`refold import FORM --follow FOLDER` names them; all others are imported"
    )
    assert store.conn.execute("SELECT count(DISTINCT aggregate_id) FROM refold.events").fetchone() == (1,)
    (tmp_path / "none").mkdir()
    assert asked(settings)[0] == []


def test_an_unknown_form_is_told(store_settings, tmp_path):
    """The run says which forms there are."""
    write(tmp_path / "logs" / "a.jsonl", "a")
    is_done, told = run(replace(store_settings, follow=(("otpl", tmp_path / "logs"),)))
    assert (is_done, "there is no form 'otpl'; there are otlp, " in str(told["why"])) == (False, True)
