"""The pages of `docs/` as a site: every link leads somewhere, every page is in the list, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LOADED = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, made as README says; a warning ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        str(folder / "trees"),
        "docs",
        str(folder / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_page_is_made_and_found(site):
    """One page each, with a place in the index; links to headings lead to one."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    index = (site / "index.html").read_text(encoding="utf-8")
    assert {name for name in pages - {"index"} if f'href="{name}.html"' not in index} == set()


def test_reading_it_loads_nothing_from_elsewhere(site):
    """No script, picture or style of another host: who reads it tells nobody."""
    loaded = {found for path in site.glob("*.html") for found in _LOADED.findall(path.read_text(encoding="utf-8"))}
    assert loaded == set()


def test_links_of_the_readme_lead_somewhere():
    """Which is no page of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert linked
    assert [link for link in linked if not (ROOT / link).exists()] == []
