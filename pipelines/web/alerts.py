"""An alert for a run that failed, posted as Slack's incoming webhooks take it, and many others that took their form from there.

What is posted names the job, the partition, the step and the kind of error. An error's own words may quote what was recorded, so
they are not in it; they are in the run's page. The address is a secret: nothing says it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from pipelines.errors import RefoldError

SECONDS = 10.0
"""How long the other side may take."""
_MOST_NAMES = 3


class AlertNotTakenError(RefoldError):
    """The other side did not take an alert; its address is not in the message."""


def tell_failure(job: str, partition: str | None, steps: dict[str, str], run_id: str) -> str:
    """What is posted of a run.

    Args:
        job: The job's name.
        partition: What it was for: a month or an experiment; None for nothing.
        steps: Step that failed → kind of its error.
        run_id: The run.
    """
    named = ", ".join(f"{step} ({kind})" for step, kind in list(steps.items())[:_MOST_NAMES])
    what = f"Refold: {_plain(job)}{f' of {_plain(partition)}' if partition else ''} failed"
    return f"{what}{f' at {_plain(named)}' if named else ''}; run {run_id}"


def post_alert(address: str, text: str) -> None:
    """Post a text.

    Raises:
        AlertNotTakenError: It was not taken; the address is not repeated.
    """
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - http or https, as it was read
    fault = None
    try:
        with urllib.request.build_opener(_NoWay()).open(request, timeout=SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        fault = f"it answered {error.code}"
        error.close()
    except (OSError, ValueError) as error:
        fault = type(error).__name__
    if fault is not None:
        raise AlertNotTakenError(f"the alert was not taken by REFOLD_ALERT_WEBHOOK: {fault}")


class _NoWay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: an address that leads on would be given the alert, and is a mistake."""

    def redirect_request(self, *_arguments: object) -> None:
        return None


def _plain(text: str) -> str:
    """A name as a chat shows it: what would be a link, a mention or a tag there is none."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
