"""The dashboard itself: under marimo's own check, in an empty home, and in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.lake.lake import Lake
from pipelines.notebooks import find_notebook
from tests.support.axe import violations
from tests.support.browser import find_chromium, open_browser
from tests.support.explored import STREAMS, write_explored
from tests.support.pages import served
from tests.support.waiting import PATIENCE

NOTEBOOK = find_notebook("explore.py")
# What is wider than its place, other than what scrolls by itself.
_WIDER_THAN_ITS_PLACE = """
[document.documentElement, document.body, document.querySelector('#App'), ...document.querySelectorAll('.rf, .rf-grid > *')]
    .filter((element) => element && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== 'auto')
    .map((element) => `${element.tagName}.${element.className}`)
"""
_FIGURE = "document.querySelector('.rf-numbers b')?.innerText"
# What a person does in a list of the browser's own, which marimo keeps in the shadow of its element.
_CHOOSE = """
(() => {
    const list = document.querySelector('marimo-dropdown').shadowRoot.querySelector('select');
    const option = [...list.options].find((each) => each.text === '2026-04');
    Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(list, option.value);
    list.dispatchEvent(new Event('change', {bubbles: true}));
    return true;
})()
"""


def environment(home: Path) -> dict[str, str]:
    """The environment of a reader's process: this home, nothing else of Refold's, and no question to any server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return {**kept, "REFOLD_HOME": str(home), "MARIMO_SKIP_UPDATE_CHECK": "1"}


def test_marimo_finds_nothing_wrong_and_no_logic_is_in_it(tmp_path):
    """marimo's own check, warnings included; no query, file or loop; and it runs in an empty home, of which it makes nothing."""
    command = [sys.executable, "-m", "marimo", "check", "--strict", str(NOTEBOOK)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = NOTEBOOK.read_text(encoding="utf-8")
    for word in ("SELECT", "duckdb", "open(", "class ", "while ", "lambda"):
        assert word not in text
    assert set(re.findall(r"^ *def (\w+)", text, re.MULTILINE)) == {"_"}
    command = [sys.executable, str(NOTEBOOK)]
    home = tmp_path / "home"
    ran = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not home.exists()


def test_a_reader_sees_and_filters(tmp_path):
    """Figures, series and tables appear; hostile names are text; a window changes them; nothing outside is asked for; all can use it."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium on PATH")
    home = tmp_path / "home"
    write_explored(Lake(home / "lake"))
    with (
        served(["dashboard", "--headless", "--port", "0"], environment(home), tmp_path / "log") as served_page,
        open_browser(chromium, tmp_path / "profile") as page,
    ):
        page.resize(1280, 900)
        page.open(served_page.url)
        page.wait(f"document.body && {_FIGURE} === '{len(STREAMS)}'")
        seen = page.evaluate("document.body.innerText")
        for words in ("What agents did", "Over time", "Outcomes", "look<script>", "How far the record can be trusted"):
            assert words in seen
        assert page.evaluate("document.querySelectorAll('.rf-columns').length") >= 3
        for width, is_dark in ((1280, False), (390, True)):
            page.resize(width, 900, is_dark=is_dark)
            page.wait(f"document.body.classList.contains('dark') === {str(is_dark).lower()}")
            assert page.evaluate(_WIDER_THAN_ITS_PLACE) == []
            assert violations(page) == []
        assert page.evaluate(_CHOOSE)
        in_april = sum(row["month"] == "2026-04" for row in STREAMS)
        page.wait(f"{_FIGURE} === '{in_april}'")
        assert page.evaluate("document.title") == "Refold: dashboard"
        assert page.failures == []
        own = (f"http://{served_page.host}/", "data:", "blob:")
        assert [url for url in page.requested if not url.startswith(own)] == []
