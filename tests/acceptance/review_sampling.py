"""Do the 95 % intervals of a review hold? Simulated sessions on real pairs, design by design. Prints a table.

    python tests/acceptance/review_sampling.py [--sessions 1000] [--data /path/to/conversations.jsonl.gz]

The pairs are those of real recorded runs: two variants of one agent on the same 83 tasks, and eleven variants beside one, 893 pairs,
imported, compared and read as `refold review` reads them. What people would say is taken from the recorded outcomes: better where B alone
was good, worse where A alone was, else the same; one of sixteen changed pairs is unsure. A session draws pairs by a design and judges all
of them, or the first 60 of 200. Exit code 3 where the net's interval holds in fewer than 93 or more than 97 of a hundred sessions, by more
than so many sessions may be off (twice their standard error). A choice that one of 83 pairs is of is drawn or not: no interval holds it in
95 of a hundred.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pipelines.diff.dataset import build_diff
from pipelines.diff.versions import list_versions
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.verdicts.frame import load_frame
from pipelines.verdicts.sampling import Drawable, Kind, fraction
from pipelines.verdicts.verdict import Choice

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.review_sessions import Held, hold

A = "gpt-4o-2024-05-13"
BESIDE = (
    "gpt-4o-2024-05-13-repeat_user_prompt",
    "gpt-4o-mini-2024-07-18",
    "claude-3-5-sonnet-20240620",
    "claude-3-5-sonnet-20241022",
    "command-r",
    "gemini-1.5-pro-001",
    "gemini-1.5-pro-002",
    "gpt-4-0125-preview",
    "Meta-SecAlign-70B",
    "Meta-SecAlign-70B-repeat_user_prompt",
    "gpt-4o-2024-05-13-spotlighting_with_delimiting",
)
EXPERIMENT = """
experiment: pair-{number}
baseline: {{recorded: {{source: agentdojo/none, variant: {a}}}}}
candidate: {{recorded: {{source: agentdojo/none, variant: {b}}}}}
mode: conversation
"""
_OUTCOMES = "SELECT unit_id, outcome_a, outcome_b FROM ab_units_history WHERE experiment = $experiment AND version_id = $version_id"
UNSURE = 1 / 16
LOW, HIGH = 0.93, 0.97
Pairs = tuple[list[Drawable], dict[str, Choice]]


def real_pairs(home: Path, data: Path) -> list[Pairs]:
    """The pairs of each variant beside A, with what people would say."""
    settings = Settings(home=home, dsn=None, lake=home / "lake")
    lake = Lake.from_settings(settings)
    with Store.open(settings) as store:
        import_chat(store, [data])
        for month in months_to_export(store, lake):
            export_month(store.dsn, lake, month)
            fold_month(lake, month)
    found = []
    for number, variant in enumerate(BESIDE):
        plan = make_plan(lake, parse_experiment(EXPERIMENT.format(number=number, a=A, b=variant), "pair"), home)
        run_replay(lake, plan)
        build_diff(lake, plan)
        (version,) = list_versions(lake, f"pair-{number}")
        frame = load_frame(lake, version)
        with lake.connect() as connection:
            outcomes = {unit: goods for unit, *goods in connection.execute(_OUTCOMES, version.partition).fetchall()}
        named = [replace(pair, unit_id=f"{number}/{pair.unit_id}") for pair in frame]
        found.append(
            (
                named,
                {
                    each.unit_id: choice_of(pair, *outcomes[pair.unit_id])
                    for each, pair in zip(named, frame, strict=True)
                },
            )
        )
    return found


def choice_of(pair: Drawable, is_good_a: bool | None, is_good_b: bool | None) -> Choice:
    """What people would say of a pair, by its outcomes."""
    if pair.size > 0 and fraction("unsure", pair.unit_id) < UNSURE:
        return "unsure"
    if None in (is_good_a, is_good_b) or is_good_a == is_good_b:
        return "same"
    return "better" if is_good_b else "worse"


def together(parts: list[Pairs]) -> Pairs:
    """All pairs as one version's."""
    return [pair for frame, _ in parts for pair in frame], {
        unit: said for _, truth in parts for unit, said in truth.items()
    }


def table(name: str, pairs: Pairs, plan: list[tuple[tuple[Kind, ...], int, int]], sessions: int) -> bool:
    """Print how often intervals hold; whether the net's always does as it should."""
    frame, truth = pairs
    is_right = True
    for kinds, judged, size in plan:
        held: list[Held] = hold(frame, truth, kinds, judged, sessions=sessions, size=size)
        off = 2 * (LOW * (1 - LOW) / sessions) ** 0.5, 2 * (HIGH * (1 - HIGH) / sessions) ** 0.5
        fits = LOW - off[0] <= held[0].covered <= HIGH + off[1]
        is_right &= fits
        of = "" if judged == size else f" of {size}"
        print(f"{name}, {' + '.join(kinds)}, {judged}{of} judged{'' if fits else '   NET OUT OF BOUNDS'}")
        for each in held:
            print(
                f"    {each.metric:<8} truth {each.truth:+.3f}  covered {each.covered:.1%}  width {each.width:.3f}  bias {each.bias:+.4f}"
            )
    return is_right


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data/conversations.jsonl.gz"
    )
    given = parser.parse_args()
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="refold-review-") as folder:
        parts = real_pairs(Path(folder), given.data)
    kinds: tuple[Kind, ...] = ("uniform", "stratified", "changes")
    small = [((kind,), n, n) for kind in kinds for n in (30, 60)]
    large = [((kind,), n, size) for kind in kinds for n, size in ((30, 30), (60, 60), (200, 200), (60, 200))]
    large += [(("uniform", "changes"), 30, 60), (("stratified", "changes"), 60, 60)]
    is_right = table("83 pairs", parts[0], small, given.sessions)
    is_right &= table("893 pairs", together(parts), large, given.sessions)
    return 0 if is_right else 3


if __name__ == "__main__":
    sys.exit(main())
