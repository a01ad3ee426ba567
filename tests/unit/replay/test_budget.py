"""What may be spent and when: the form of `budget`, the account that is never overdrawn, the off-peak window."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.experiment.budget import parse_off_peak
from pipelines.experiment.file import parse_experiment
from pipelines.replay.asking.account import Account, BudgetExhausted, until_off_peak

MODEL = "experiment: x\ncandidate: {model: m, base_url: 'http://127.0.0.1:1/v1'%s}\n%s"


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1)), max_size=30), st.integers(1, 200), st.integers(1, 5))
def test_an_account_is_never_overdrawn(calls, limit, width):
    """Whatever calls cost at most and cost in the end, spent and reserved stay within the limit; only what cannot fit is refused."""
    account = Account(usd_limit=float(limit), requests_limit=None)
    refused: list[int] = []

    async def call(most: int, share: float) -> None:
        try:
            await account.reserve(float(most))
        except BudgetExhausted:
            refused.append(most)
            assert account.usd + most > limit
            return
        assert account.usd + account._reserved <= limit
        await asyncio.sleep(0)
        account.settle(float(most), most * share)

    async def main() -> None:
        pending = iter(calls)

        async def worker() -> None:
            for most, share in pending:
                await call(most, share)

        await asyncio.gather(*(worker() for _ in range(width)))

    asyncio.run(main())
    assert account.usd <= limit
    assert account.requests == len(calls) - len(refused)


def test_requests_are_counted_before_they_are_made():
    """The budget of requests holds for calls under way too."""

    async def main() -> None:
        account = Account(usd_limit=None, requests_limit=2)
        await account.reserve(0)
        await account.reserve(0)
        with pytest.raises(BudgetExhausted, match="2 requests"):
            await account.reserve(0)

    asyncio.run(main())


def test_the_window_may_go_over_midnight():
    """The wait is zero inside the window, and until it opens outside, also on the next day."""
    window = parse_off_peak("22:00-06:00 UTC")
    at = datetime(2026, 1, 31, 21, 30, tzinfo=UTC)
    assert until_off_peak(window, at) == timedelta(minutes=30)
    assert until_off_peak(window, at + timedelta(hours=1)) == timedelta(0)
    assert until_off_peak(window, at + timedelta(hours=8)) == timedelta(0)
    assert until_off_peak(window, at + timedelta(hours=8, minutes=30)) == timedelta(hours=16)
    day = parse_off_peak("01:00-05:00 UTC")
    assert until_off_peak(day, at) == timedelta(hours=3, minutes=30)


@pytest.mark.parametrize(
    ("candidate", "rest", "fault"),
    [
        ("", "budget: {usd: 0}", "budget.usd"),
        ("", "budget: {off_peak: '6-7'}", "22:00-06:00 UTC"),
        ("", "budget: {dollars: 5}", "not a key"),
        (", api_key_env: 'sk-123'", "", "never a key itself"),
        (", params: {stream: true}", "", "stream cannot be set"),
        (", prompt_file: a.md, prompt_edit: [{find: a, replace: b}]", "", "either prompt_file or prompt_edit"),
        (", echo: true", "", "exactly one of"),
        (", draws: 0", "", "draws"),
        ("", "control: {prompt_file: a.md}", "belong to a model"),
        (", recorded: {variant: v2}", "", "exactly one of"),
    ],
)
def test_a_wrong_key_is_named(candidate, rest, fault):
    """What cannot be meant is refused before anything runs, and the message says which key it is."""
    with pytest.raises(BadInputError, match=fault):
        parse_experiment(MODEL % (candidate, rest), "x.yaml")


def test_a_control_is_asked_where_the_candidate_is():
    """A control without an address takes the candidate's, with its key; one with an address of its own takes nothing."""
    text = MODEL % (", api_key_env: KEY", "control: {model: m0, draws: 2%s}")
    same = parse_experiment(text % "", "x.yaml")
    assert same.endpoint_of("control") == ("http://127.0.0.1:1/v1", "KEY")
    other = parse_experiment(text % ", base_url: 'http://127.0.0.1:2/v1/'", "x.yaml")
    assert other.endpoint_of("control") == ("http://127.0.0.1:2/v1", None)


@pytest.mark.parametrize("candidate", ["echo: true", "recorded: {source: s}", "python: 'a:b'"])
def test_a_budget_that_nobody_would_check_is_refused(candidate):
    """Without a model there is nothing to pay for; an async callable is bounded in how much it does at once."""
    mode = "mode: conversation\n" if "recorded" in candidate else ""
    with pytest.raises(BadInputError, match="this experiment asks none"):
        parse_experiment(f"experiment: x\n{mode}candidate: {{{candidate}}}\nbudget: {{requests: 5}}", "x.yaml")
    parse_experiment("experiment: x\ncandidate: {python: 'a:b'}\nbudget: {concurrency: 5}", "x.yaml")
