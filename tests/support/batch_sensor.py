"""The sensor that goes on with batches, as its daemon would use it; as a program, in a process that is killed on the way.

python -m tests.support.batch_sensor      # killed when the first results are kept
"""

from __future__ import annotations

import os
import signal
from typing import Any

import dagster as dg  # noqa: TID251 - this is of the code location

from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home
from pipelines.replay.batch.ledger import Ledger
from pipelines.settings import Settings

NAME = "finished_batches"


def look(settings: Settings) -> tuple[list[dg.RunRequest], str | None]:
    """The runs that the sensor asks for when it looks, or why it asks for none."""
    with open_instance(settings) as instance, Home(settings) as home:
        repository = build_defs({"home": home}).get_repository_def()
        sensor = repository.get_sensor_def(NAME)
        with dg.build_sensor_context(
            instance=instance, instance_ref=instance.get_ref(), repository_def=repository, resources={"home": home}
        ) as context:
            told = sensor.evaluate_tick(context)
        return list(told.run_requests or []), told.skip_message


def go_on(settings: Settings) -> bool:
    """Run what the sensor asks for; whether that succeeded."""
    (request,), _ = look(settings)
    with open_instance(settings) as instance, Home(settings) as home:
        definitions = build_defs({"home": home})
        done = definitions.resolve_job_def("replay_experiment").execute_in_process(
            instance=instance,
            partition_key=request.partition_key,
            run_config=request.run_config,
            raise_on_error=False,
        )
        return done.success


def main() -> None:
    """Go on, and be killed."""
    keep = Ledger.keep

    def keep_and_die(*given: Any) -> float:
        keep(*given)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    Ledger.keep = keep_and_die  # type: ignore[method-assign]
    go_on(Settings.from_env())


if __name__ == "__main__":
    main()
