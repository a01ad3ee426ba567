"""The review notebook itself: as a script, as a program, under marimo's own check, and in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.notebooks import find_notebook
from tests.notebooks.small_lake import OTHER_EXPERIMENT, SCRIPT, Small
from tests.support.browser import find_chromium, open_browser
from tests.support.pages import Served, served
from tests.support.waiting import PATIENCE

NOTEBOOK = find_notebook("review.py")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a reviewer's process: this home, nothing else of Refold's, and no question to any server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return {**kept, "REFOLD_HOME": str(home), "MARIMO_SKIP_UPDATE_CHECK": "1", **more}


def run_script(home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(NOTEBOOK)]
    return subprocess.run(
        command,
        env=environment(home, **more),
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_marimo_finds_nothing_wrong():
    """The notebook passes marimo's own check, warnings included."""
    command = [sys.executable, "-m", "marimo", "check", "--strict", str(NOTEBOOK)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_holds_no_logic():
    """No query, no file and no loop over data in the notebook: everything is a call of the library or a widget."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    for word in ("SELECT", "duckdb", "open(", "class ", "while ", "lambda"):
        assert word not in text
    assert set(re.findall(r"^ *def (\w+)", text, re.MULTILINE)) == {"_"}  # cells only


@pytest.mark.parametrize("wanted", ["", OTHER_EXPERIMENT, "nope"])
def test_runs_as_a_script(small: Small, wanted):
    """The notebook runs from top to bottom on a lake, whichever experiment is asked for."""
    ran = run_script(small.home, REFOLD_EXPERIMENT=wanted)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_runs_in_an_empty_home(tmp_path):
    """Without a version the notebook ends without a traceback and writes nothing."""
    ran = run_script(tmp_path / "home")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not (tmp_path / "home").exists()


@contextmanager
def reviewed(home: Path, log: Path) -> Iterator[Served]:
    """`refold review` on a free port; gone afterwards."""
    with served(["review", "--headless", "--port", "0"], environment(home), log) as page:
        yield page


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser; without one the test is skipped."""
    found = find_chromium()
    if found is None:
        pytest.skip("no chromium on PATH")
    return found


def test_a_reviewer_sees_the_change(small: Small, chromium: str, tmp_path):
    """In a browser: headline, table and pair appear; hostile text is text; nothing outside is asked for; it fits."""
    with reviewed(small.home, tmp_path / "log") as served_page, open_browser(chromium, tmp_path / "profile") as page:
        page.resize(1280, 900)
        page.open(served_page.url)
        page.wait("document.querySelector('.rf-pair') !== null && document.querySelector('marimo-table') !== null")
        page.wait("document.body.innerText.includes('Decision 1: other tool calls')")
        seen = page.evaluate("document.body.innerText")
        for words in (
            "How B differs from A",
            "5 of 8",
            "−40 to +8.50",
            "Tool calls, side by side (2)",
            SCRIPT,
        ):
            assert words in seen
        assert "import marimo" not in seen  # code is hidden
        # Select the second row: its pair follows.
        page.wait(f"Boolean({_ROW.format(row=1)})")
        page.evaluate(f"{_ROW.format(row=1)}.click()")
        page.wait("document.body.innerText.includes('Decision 1: same tools, other arguments')")
        for width, is_dark in ((1280, False), (1280, True), (480, False)):
            page.resize(width, 900, is_dark=is_dark)
            page.wait(f"document.body.classList.contains('dark') === {str(is_dark).lower()}")
            assert page.evaluate(_WIDER_THAN_ITS_PLACE) == []
        assert page.evaluate("document.title") == "Refold: A/B review"
        assert page.failures == []
        outside = [
            url for url in page.requested if not url.startswith((f"http://{served_page.host}/", "data:", "blob:"))
        ]
        assert outside == []


def test_a_reviewer_of_nothing_is_told_what_to_run(chromium: str, tmp_path):
    """In an empty home the page says what to run, without a traceback."""
    with (
        reviewed(tmp_path / "home", tmp_path / "log") as served_page,
        open_browser(chromium, tmp_path / "profile") as page,
    ):
        page.open(served_page.url)
        page.wait("document.body && document.body.innerText.includes('run refold demo')")
        seen = page.evaluate("document.body.innerText")
        assert "Traceback" not in seen
        assert "Error" not in seen


# The check box of a row of the table, which is in the shadow of its element.
_ROW = (
    "document.querySelector('marimo-table')?.shadowRoot?.querySelectorAll('[data-testid=select-row-checkbox]')[{row}]"
)
# What is wider than its place, other than what scrolls by itself: the reason for a page that scrolls sideways.
_WIDER_THAN_ITS_PLACE = """
[document.documentElement, document.body, document.querySelector('#App'), ...document.querySelectorAll('.rf, .rf-side')]
    .filter((element) => element && element.scrollWidth > element.clientWidth + 1)
    .filter((element) => !['auto', 'scroll'].includes(getComputedStyle(element).overflowX) || element.id === 'App')
    .map((element) => `${element.tagName}.${element.className}: ${element.scrollWidth} > ${element.clientWidth}`)
"""
