"""The worked example of `docs/compare.md`: two logs of one task by two models, made by Inspect, compared on one page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.inspect_logs_known import EPOCHS, GUESSED, ITEMS
from tests.support.verbs import Verbs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The log of the cautious model, and that of the hasty one."""
    folder = tmp_path_factory.mktemp("logs")
    made = subprocess.run(
        [sys.executable, "-m", "tests.support.inspect_logs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert made.returncode == 0, made.stderr[-2000:] + made.stdout[-2000:]
    return [Path(line) for line in made.stdout.split()]


def example() -> str:
    """The experiment that the page shows."""
    (text,) = re.findall(
        r"```yaml\n# two-models.yaml\n(.*?)```", (ROOT / "docs/compare.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return str(text)


def test_one_task_by_two_models(logs: list[Path], refold: Verbs, tmp_path: Path) -> None:
    """Every sample is a pair; what the hasty model guessed differs, and its epochs are its noise."""
    code, told, error = refold("import", "inspect", *map(str, logs), "--json")
    assert code == 0, error
    counts = json.loads(told)
    assert counts["conversations"] == counts["streams"] == len(ITEMS) * EPOCHS * 2
    assert counts["tool_calls"] == counts["tool_results"] == EPOCHS * (2 * len(ITEMS) - len(GUESSED))
    for verb in ("export", "fold"):
        assert refold(verb)[0] == 0
    (tmp_path / "two-models.yaml").write_text(example(), encoding="utf-8")
    code, told, error = refold("ab", str(tmp_path / "two-models.yaml"))
    assert code == 0, error
    assert f"{len(ITEMS)} conversation pairs in {len(ITEMS)} conversations" in told
    assert f"tool calls differ in {len(GUESSED)} pairs" in told
    assert re.search(r"the control from itself +0\.0%", told)
    assert re.search(r"B from itself +0\.0%", told)
    (page,) = re.findall(r"report: (.*\.html)", told)
    assert "There are plenty in stock." in Path(page).read_text(encoding="utf-8")


def test_importing_again_appends_nothing(logs: list[Path], refold: Verbs) -> None:
    """One log first, then both: the samples that are there stay as they are."""
    appended = []
    for files in (logs[:1], logs, logs):
        imported = json.loads(refold("import", "inspect", *map(str, files), "--json")[1])["imported"]
        appended.append((imported["conversations"], imported["already_present"]))
    half = len(ITEMS) * EPOCHS
    assert appended == [(half, 0), (half, half), (0, 2 * half)]
