"""The review notebook itself: as a script, as a program, under marimo's own check, and in a browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.notebooks import find_notebook
from pipelines.store import EmbeddedServer, Store, connect
from pipelines.verdicts.record import Review
from tests.support.axe import violations
from tests.support.browser import Page, find_chromium, open_browser, open_tab
from tests.support.databases import copied_database
from tests.support.pages import Served, served
from tests.support.small_lake import (
    CHANGED,
    EXPERIMENT,
    OTHER_EXPERIMENT,
    SCRIPT,
    Small,
    unit,
    write_small,
    write_version,
)
from tests.support.waiting import PATIENCE

NOTEBOOK = find_notebook("review.py")
ODD = "\u202e\x1b[31m" + ("odd " * 7_500)[:-2]
"""30,000 characters, of which the first turn the direction of reading, and colour a terminal."""


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


def test_runs_as_a_script(small: Small):
    """The notebook runs from top to bottom on a lake, with the experiment that is asked for."""
    ran = run_script(small.home, REFOLD_EXPERIMENT=OTHER_EXPERIMENT)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_runs_in_an_empty_home(tmp_path):
    """Without a version the notebook ends without a traceback and writes nothing."""
    ran = run_script(tmp_path / "home")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not (tmp_path / "home").exists()


@dataclass(frozen=True)
class Room:
    """A home with a version to review, a store to record in, and the browser of who reviews.

    Attributes:
        home: The home.
        environment: Of `refold review`.
        profile: The browser's.
        page: Its page.
        version_id: The newest version, which has pairs enough for a queue.
    """

    home: Path
    environment: dict[str, str]
    profile: Path
    page: Page
    version_id: str = "v3"


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser; without one the test is skipped."""
    found = find_chromium()
    if found is None:
        pytest.skip("no chromium on PATH")
    return found


@pytest.fixture(scope="module")
def room(
    chromium: str, server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    """One home, one database and one browser for all that is looked at here."""
    home = tmp_path_factory.mktemp("review-room")
    written = write_small(home)
    more = [unit(number) for number in range(9, 19)]
    write_version(written.lake, "v3", [*CHANGED, unit(8, text_b=ODD, sim_tok=0.2, is_same_final=False), *more])
    profile = home / "profile"
    with copied_database(server, template) as name, open_browser(chromium, profile) as page:
        page.resize(1280, 900)
        yield Room(home, environment(home, REFOLD_DSN=server.dsn_of(name)), profile, page)


@pytest.fixture(scope="module")
def served_page(room: Room) -> Iterator[Served]:
    """The page, for all tests here; the last one kills its server."""
    with reviewed(room) as page:
        yield page


@contextmanager
def reviewed(room: Room) -> Iterator[Served]:
    """`refold review` on a free port; gone afterwards."""
    log = room.home / f"log-{time.monotonic_ns()}"
    with served(["review", "--headless", "--port", "0"], room.environment, log, may_be_killed=True) as page:
        yield page


def test_a_reviewer_sees_the_answer_and_the_change(room: Room, served_page: Served):
    """Answer and intervals first, then table and pair; hostile text is text; nothing outside is asked for; it fits; axe-core finds nothing."""
    page = room.page
    page.open(served_page.url)
    page.wait("document.querySelector('.rf-pair') !== null && document.querySelector('marimo-table') !== null")
    page.wait("document.body?.innerText.includes('Decision 1: other tool calls')")
    seen = page.evaluate("document.body.innerText")
    words = ("How B differs from A", "Not enough data", "Refund (USD), decides", "−40 to +8.50", SCRIPT)
    assert [word for word in words if word not in seen] == []
    assert seen.index("Not enough data") < seen.index("Pairs") < seen.index("Decision 1")
    assert "import marimo" not in seen  # code is hidden
    # Select the second row: its pair follows, and so does the address.
    page.wait(f"Boolean({_ROW.format(row=1)})")
    page.evaluate(f"{_ROW.format(row=1)}.click()")
    page.wait("document.body?.innerText.includes('Decision 1: same tools, other arguments')")
    page.wait("location.search.includes('unit=s1')")
    for width, is_dark in ((1280, False), (390, True)):
        page.resize(width, 900, is_dark=is_dark)
        page.wait(f"document.body.classList.contains('dark') === {str(is_dark).lower()}")
        assert page.evaluate(_WIDER_THAN_ITS_PLACE) == []
        assert violations(page) == []
    page.resize(1280, 900)
    assert page.evaluate("document.title") == "Refold: review"


def test_an_address_chooses_pairs(room: Room, served_page: Served):
    """Filters are read from the address, and what it names and is not there is left out."""
    page = room.page
    page.open(f"{served_page.url}&class=args_only,nothing&moved=down:refund_usd&similar=90-100&view=pairs")
    page.wait("document.body?.innerText.includes('Decision 1: same tools, other arguments')")
    assert page.evaluate(_ROWS) == 1
    page.open(f"{served_page.url}&tool=escalate&version=v2")
    page.wait("document.body?.innerText.includes('Decision 1: other tool calls')")
    assert page.evaluate(_ROWS) == 1


def test_a_pair_is_judged_blind_at_its_address_and_in_two_tabs(room: Room, served_page: Served):
    """A pair opens at its address, inert and without a trace of A and B; what one tab judged, the other shows, and records nothing."""
    page = room.page
    address = f"{served_page.url}&version=v3&unit=s8%2F1"
    page.open(address)
    page.wait(_SHOWN)
    seen = page.evaluate("document.querySelector('#queue [data-pair]').innerText")
    assert "\\u202e" in seen
    assert "\\x1b[31m" in seen
    assert "16,000 more characters" in seen
    assert page.evaluate("document.title") == "Refold: review"
    markup = page.evaluate("document.querySelector('#queue [data-pair]').outerHTML")
    assert not re.search(r"rf-side-[ab]\b|[\"' >][AB][\"' <:]|left_is|data-left", markup)
    assert violations(page, "'#queue'") == []
    page.resize(390, 900, is_dark=True)
    page.wait("document.body.classList.contains('dark')")
    assert page.evaluate(_WIDER_THAN_ITS_PLACE) == []
    assert violations(page, "'#queue'") == []
    page.resize(1280, 900)
    with open_tab(room.profile, page) as other:
        other.open(address)
        other.wait(_SHOWN)
        # What is typed as a reason is no verdict.
        press(page, "r")
        page.type("12 34 zs")
        press(page, "1")
        assert page.evaluate("document.querySelector('[data-reason]').value") == "12 34 zs1"
        press(page, "Enter")
        press(page, "3")
        page.wait(f"{_STATUS}.includes('Recorded: No difference')")
        press(other, "1")  # or it has seen already that this pair was judged
        other.wait(f"{_STATUS}.includes('n another tab you judged the pair')")
        other.wait(_SHOWN)
        assert other.failures == []
    assert judged(room, "v3") == [("s8/1", "same", "12 34 zs1")]
    press(page, "v")
    page.wait(f"{_STATUS}.includes('what happened')")
    press(page, "z")
    page.wait(f"{_STATUS}.includes('Taken back')")
    assert judged(room, "v3") == []
    assert page.failures == []
    outside = [url for url in page.requested if not url.startswith((f"http://{served_page.host}/", "data:", "blob:"))]
    assert outside == []


def test_ten_verdicts_by_keyboard_survive_a_kill(room: Room, served_page: Served):
    """What was acknowledged is there after kill -9, and the next server goes on behind it; without a server nothing is said to be recorded."""
    page = room.page
    page.open(f"{served_page.url}&version=v3&view=judge")
    page.wait(_SHOWN)
    told = []
    for number in range(10):
        told.append(page.evaluate(_UNIT))
        press(page, str(number % 4 + 1))
        page.wait(f"{_STATUS}.startsWith('Recorded') && {_SHOWN} && {_UNIT} !== '{told[-1]}'")
    os.kill(served_page.pid, signal.SIGKILL)
    press(page, "1")
    page.wait(f"{_STATUS}.includes('server does not answer')")
    found = judged(room, "v3")
    assert [unit_id for unit_id, _, _ in found] == told
    assert len(set(told)) == 10
    assert [choice for _, choice, _ in found][2::4] == ["same", "same"]
    with reviewed(room) as second:
        page.open(f"{second.url}&version=v3&view=judge")
        page.wait(_SHOWN)
        page.wait("document.querySelector('[data-place]').textContent.includes('Judged by you: 10 of 15')")
        assert page.evaluate(_UNIT) not in told


def press(page: Page, key: str) -> None:
    """Press a key when the page has been looked at for long enough."""
    page.wait("document.querySelector('#queue').getAttribute('aria-busy') !== 'true'")
    time.sleep(0.26)
    page.press(key)


def judged(room: Room, version_id: str) -> list[tuple[str, str, str | None]]:
    """The verdicts that stand, as the store has them: pair, choice and reason, in the order in which they were given."""
    with connect(room.environment["REFOLD_DSN"]) as connection:
        review = Review(Store(connection, room.environment["REFOLD_DSN"]), EXPERIMENT, version_id)
        review.refresh()
        return [(each.unit_id, each.choice, each.reason) for each in review.standing.values()]


_STATUS = "(document.querySelector('#queue [data-status]')?.textContent ?? '')"
_SHOWN = "(document.querySelector('#queue .rf-pair') !== null && document.querySelector('#queue')?.getAttribute('aria-busy') === 'false')"
_UNIT = "new URL(location).searchParams.get('unit')"
_ROWS = "document.querySelector('marimo-table').shadowRoot.querySelectorAll('tbody tr').length"
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
