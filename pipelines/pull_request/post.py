"""`python -m pipelines.pull_request.post FILE`: the comment in FILE, on the pull request of the workflow that runs this.

What is to be done stands in the variables that GitHub sets for a job; the token alone in `GITHUB_TOKEN`. The job's summary gets
the comment in any case, so a pull request from a fork, whose token may read alone, is answered there.

Exit codes: 0 the comment stands, or may not be written and the summary has it; 1 GitHub did not do it; 2 the job is not as it
should be.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.address import read_address
from pipelines.console import on_one_line, safe_streams, tell
from pipelines.errors import BadInputError, RefoldError
from pipelines.pull_request.github import NotPermittedError, PullRequest

_API = "https://api.github.com"
_AUTHOR = "github-actions[bot]"
"""Who a workflow's own token writes as."""
_MARKER = re.compile(r"<!-- refold ab: [a-z0-9][a-z0-9._/-]{0,250} -->")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_TOKEN = re.compile(r"[!-~]{1,4096}")


def post(path: Path, environment: Mapping[str, str]) -> str:
    """Put the comment in a file into the summary and on the pull request.

    Args:
        path: What `refold ab --github-comment` wrote.
        environment: A job's variables.

    Returns:
        What was done, in one line.

    Raises:
        BadInputError: The file is none, or a variable is missing or wrong.
        GitHubError: GitHub did not do it.
    """
    body, marker = _read(path)
    is_summed_up = _sum_up(body, environment.get("GITHUB_STEP_SUMMARY"))
    elsewhere = "; the job's summary has it" if is_summed_up else ""
    number = _number(environment)
    if number is None:
        return f"this job is of no pull request, so nothing is commented{elsewhere}"
    token = environment.get("GITHUB_TOKEN", "")
    if not token:
        return f"there is no GITHUB_TOKEN, so nothing is commented{elsewhere}"
    pull_request = PullRequest(
        api_url=_api(environment.get("GITHUB_API_URL") or _API),
        repository=_repository(environment.get("GITHUB_REPOSITORY", "")),
        number=number,
        token=_token(token),
        author=environment.get("REFOLD_COMMENT_AUTHOR") or _AUTHOR,
    )
    try:
        posted = pull_request.post(body, marker)
    except NotPermittedError as error:
        return (
            f"the comment may not be written ({error}): a pull request from a fork has a token that reads alone, "
            f"and others need `permissions: pull-requests: write`{elsewhere}"
        )
    return f"comment {'written' if posted.is_new else 'updated'}: {on_one_line(posted.url)}"


def _read(path: Path) -> tuple[str, str]:
    """A comment, and the line by which it is found again."""
    try:
        body = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error
    marker = body.split("\n", 1)[0]
    if not _MARKER.fullmatch(marker):
        raise BadInputError(f"{path}: is no comment that `refold ab --github-comment` wrote")
    return body, marker


def _sum_up(body: str, path: str | None) -> bool:
    if not path:
        return False
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(f"{body}\n")
    except OSError as error:
        raise BadInputError(f"GITHUB_STEP_SUMMARY: {path} cannot be written: {error.strerror}") from error
    return True


def _number(environment: Mapping[str, str]) -> int | None:
    """The pull request that the job is about; None for a job about something else."""
    path = environment.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    try:
        event: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"GITHUB_EVENT_PATH: {path} is no event: {error}") from error
    found = event.get("pull_request") if isinstance(event, dict) else None
    number = found.get("number") if isinstance(found, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _api(text: str) -> str:
    """The API's address; the token goes there, so it goes encrypted, or stays on this machine."""
    try:
        address = read_address(text.rstrip("/"))
    except ValueError as error:
        raise BadInputError(f"GITHUB_API_URL is {text!r}: {error}") from error
    if address.scheme != "https" and not address.is_loopback:
        raise BadInputError(f"GITHUB_API_URL is {text!r}: the token is sent over https alone")
    return text.rstrip("/")


def _repository(text: str) -> str:
    if not _REPOSITORY.fullmatch(text) or {"..", "."} & set(text.split("/")):
        raise BadInputError(f"GITHUB_REPOSITORY is {text!r}; it is written owner/name")
    return text


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise BadInputError("GITHUB_TOKEN holds characters that no token has, such as a line end")
    return text


def main() -> int:
    """Run it, on the arguments and variables of this process."""
    with safe_streams():
        if len(sys.argv) != 2:
            tell("usage: python -m pipelines.pull_request.post FILE")
            return BadInputError.exit_code
        try:
            tell(post(Path(sys.argv[1]), os.environ))
        except RefoldError as error:
            tell(f"refold: {error}")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
