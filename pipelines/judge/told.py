"""What a judge came to, as people are told it: never a number without how far it agrees with them."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.console import counted
from pipelines.judge.run import Judged, Price
from pipelines.review.numbers import interval, number, percent
from pipelines.verdicts.judged import AGREEMENT
from pipelines.verdicts.summary import Line

_SHARES = {
    "judge_better": "B is better",
    "judge_worse": "B is worse",
    "judge_same": "neither, or the two orders disagree",
    "judge_consistent": "both orders say the same",
}
_NETS = {
    "judge_net": "better less worse",
    "judge_net_debiased": "the same, corrected by the people's verdicts",
}
_WHY = {
    "no_pair_twice": "nobody judged any of these pairs",
    "few_pairs_twice": "people judged too few of these pairs",
    "one_choice": "people and judge said the same one thing of all pairs, as they would by chance alone",
}


def judge_lines(lines: Sequence[Line]) -> list[Line]:
    """Those of a review that are of the judge."""
    return [line for line in lines if line.metric.startswith("judge_")]


def render_judge(experiment: str, model: str, judged: Judged, lines: Sequence[Line]) -> str:
    """A judge's part of a page, as lines of text."""
    found = {line.metric: line for line in judge_lines(lines)}
    without = f", {judged.failed:,} without an answer" if judged.failed else ""
    head = f"judge {model}: {counted(judged.pairs, 'pair')}, each both ways round{without}"
    agreement = found.get(AGREEMENT)
    if agreement is None:
        return f"{head}\n  it chose nothing, so there is nothing to say"
    if agreement.estimate is None:
        why = _WHY.get(agreement.reason or "", "nobody judged any of these pairs")
        return (
            f"{head}\n  no number of it is shown: {why}, and so nobody knows how far it agrees with people; "
            f"judge some with: refold review {experiment}"
        )
    out = [
        head,
        (
            f"  agreement with people, beyond chance (AC1)      {number(agreement.estimate)} "
            f"[{interval(agreement.low, agreement.high)}], over {counted(agreement.n, 'pair')} that both judged"
        ),
    ]
    for metric, words in _NETS.items():
        line = found[metric]
        out.append(f"  {words:<48}{number(line.estimate, is_signed=True)} [{interval(line.low, line.high)}]")
    for metric, words in _SHARES.items():
        line = found[metric]
        out.append(f"  {words:<48}{percent(line.estimate)} [{interval(line.low, line.high, is_share=True)}]")
    return "\n".join(out)


def render_price(model: str, price: Price) -> str:
    """What a judge would be asked and would cost, in one line."""
    usd = "price not known" if price.usd is None else f"about {price.usd:,.4f} USD"
    return (
        f"judge: {counted(price.requests, 'request')} to {model}, {price.kept:,} of them paid for before, "
        f"about {price.input_tokens:,} tokens in: {usd}"
    )
