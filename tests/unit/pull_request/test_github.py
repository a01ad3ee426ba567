"""One comment, updated, whatever GitHub answers; and what is said where it may not be written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipelines.errors import BadInputError
from pipelines.pull_request.comment import marker
from pipelines.pull_request.github import GitHubError, NotPermittedError, PullRequest
from pipelines.pull_request.post import main, post
from tests.support.github_server import github

MARK = marker("refunds")
BODY = f"{MARK}\n\nfirst"
TOKEN = "ghs_not-to-be-seen"


@pytest.fixture
def server():
    with github() as state:
        yield state


@pytest.fixture
def waited():
    return []


@pytest.fixture
def ours(server, waited):
    return PullRequest(server.url, server.repository, server.number, TOKEN, "github-actions[bot]", waited.append)


def test_a_comment_is_written_once_and_updated(server, ours):
    """Over several pages of other comments, one of which has the same first line, by somebody else."""
    server.most = 2
    for text in ("hello", f"{MARK}\n\nours too, honestly", "more"):
        server.add(text, login="mallory")
    server.add(f"{marker('other')}\n\nanother experiment's")
    assert ours.post(BODY, MARK).is_new
    posted = ours.post(f"{MARK}\n\nsecond", MARK)
    assert not posted.is_new
    assert posted.url.endswith("#issuecomment-5")
    assert [each["body"].rpartition("\n")[2] for each in server.comments] == [
        "hello",
        "ours too, honestly",
        "more",
        "another experiment's",
        "second",
    ]
    assert server.tokens == {f"Bearer {TOKEN}"}


def test_a_lost_answer_writes_no_second_comment(server, ours, waited):
    """The comment was created, and the answer was an error: it is looked for before it is created again."""
    server.loses = 1
    assert not ours.post(BODY, MARK).is_new
    assert len(server.comments) == 1
    assert waited == [1]


def test_a_comment_that_was_removed_meanwhile_is_written_anew(server, ours):
    """Between listing and updating."""
    server.add(f"{MARK}\n\nold")

    def remove(method, _path):
        if method == "PATCH":
            server.comments.clear()

    server.refuse = remove
    assert ours.post(BODY, MARK).is_new


@pytest.mark.parametrize(
    ("status", "headers", "delay"),
    [
        (429, {"Retry-After": "7"}, 7),
        (403, {"Retry-After": "3"}, 3),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, 1),
        (500, {}, 1),
        (503, {"Retry-After": "soon"}, 1),
    ],
)
def test_a_refusal_for_the_rate_and_a_fault_are_waited_for(server, ours, waited, status, headers, delay):
    """As long as the answer asks for."""
    left = [1]
    server.refuse = lambda _method, _path: (status, headers, {"message": "slow down"}) if left and left.pop() else None
    assert ours.post(BODY, MARK).is_new
    assert waited == [delay]


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        ((403, {}, {"message": "Resource not accessible by integration"}), NotPermittedError, "403: Resource not"),
        ((404, {}, {"message": "Not Found"}), NotPermittedError, "404"),
        ((401, {}, {"message": "Bad credentials"}), NotPermittedError, "401"),
        ((422, {}, {"message": "\x1b[31mred"}), GitHubError, r"422: \x1b[31mred"),
        ((500, {}, b"<html>"), GitHubError, "500"),
        ((429, {"Retry-After": "3600"}, {}), GitHubError, "429"),
        ((302, {"Location": "http://127.0.0.1:1/steal"}, {}), GitHubError, "302"),
        ((200, {}, b"not json"), GitHubError, "no JSON"),
        ((200, {}, {"not": "a list"}), GitHubError, "no list"),
    ],
)
def test_what_cannot_be_done_is_told(server, ours, waited, refusal, error, words):
    """In GitHub's words, made harmless; the token is in none of them, and goes nowhere else."""
    server.refuse = lambda _method, _path: refusal
    with pytest.raises(error) as raised:
        ours.post(BODY, MARK)
    assert words in str(raised.value)
    assert type(raised.value) is error
    assert TOKEN not in str(raised.value) + repr(ours)
    assert sum(waited) < 60
    assert server.comments == []


def test_nobody_who_listens_is_told(ours, waited):
    """A connection that is refused is tried again, and then said."""
    with pytest.raises(GitHubError, match="does not answer: URLError"):
        replace(ours, api_url="http://127.0.0.1:9").post(BODY, MARK)
    assert len(waited) == 4


@pytest.fixture
def job(server, tmp_path):
    """The variables of a job, and the file of a comment."""
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": server.number}}), encoding="utf-8")
    (tmp_path / "comment.md").write_text(BODY, encoding="utf-8")
    return {
        "GITHUB_API_URL": server.url,
        "GITHUB_REPOSITORY": server.repository,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_TOKEN": TOKEN,
    }


def test_a_job_comments_and_sums_up(server, job, tmp_path):
    """The same text in both places."""
    said = post(tmp_path / "comment.md", job)
    assert said == f"comment written: {server.comments[0]['html_url']}"
    assert server.comments[0]["body"] == BODY
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == f"{BODY}\n"


def test_a_fork_is_answered_in_the_summary(server, job, tmp_path):
    """Its token reads alone: that is no failure, and says what would help."""
    refusal = (403, {}, {"message": "Resource not accessible by integration"})
    server.refuse = lambda method, _path: refusal if method != "GET" else None
    said = post(tmp_path / "comment.md", job)
    assert "fork" in said
    assert said.endswith("; the job's summary has it")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == f"{BODY}\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GITHUB_EVENT_PATH": ""}, "of no pull request"),
        ({"GITHUB_TOKEN": ""}, "no GITHUB_TOKEN"),
    ],
)
def test_a_job_without_pull_request_or_token_sums_up_alone(server, job, tmp_path, change, words):
    """Nothing is asked."""
    assert words in post(tmp_path / "comment.md", job | change)
    assert server.calls == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GITHUB_API_URL": "http://api.evil.test"}, "https alone"),
        ({"GITHUB_API_URL": "file:///etc/passwd"}, "GITHUB_API_URL"),
        ({"GITHUB_REPOSITORY": "acme/../other"}, "owner/name"),
        ({"GITHUB_REPOSITORY": "acme/.."}, "owner/name"),
        ({"GITHUB_TOKEN": f"{TOKEN}\nX-Evil: 1"}, "such as a line end"),
        ({"GITHUB_EVENT_PATH": "/nowhere/event.json"}, "GITHUB_EVENT_PATH"),
        ({"GITHUB_STEP_SUMMARY": "/nowhere/summary.md"}, "GITHUB_STEP_SUMMARY"),
    ],
)
def test_a_job_that_is_not_as_it_should_be_is_refused(server, job, tmp_path, change, words):
    """Before anything is sent, without the token."""
    with pytest.raises(BadInputError) as raised:
        post(tmp_path / "comment.md", job | change)
    assert words in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert server.calls == []


def test_the_module_runs_by_itself(server, job, tmp_path, monkeypatch, capsys):
    """Exit code and one line."""
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["post", str(tmp_path / "comment.md")])
    assert main() == 0
    (tmp_path / "comment.md").write_text("no marker", encoding="utf-8")
    assert main() == 2
    monkeypatch.setattr("sys.argv", ["post"])
    assert main() == 2
    said = capsys.readouterr().err
    assert "is no comment that `refold ab --github-comment` wrote" in said
    assert TOKEN not in said
