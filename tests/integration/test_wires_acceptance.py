"""The same scripted model over three wires, before a few real contexts: `tests/acceptance/wires.py` does it before hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.acceptance import wires
from tests.support.wires.wires import WIRES


@pytest.fixture
def lake(shared_data: Path, store: Store, settings: Settings, tmp_path: Path) -> Lake:
    """A conversation of each source of real data."""
    lake = Lake.from_settings(settings)
    wires.import_some(store, lake, shared_data.parent, 1, tmp_path, has_forms=False)
    return lake


@pytest.mark.parametrize("mode", ["decision", "turn"])
def test_one_model_decides_alike_over_each_wire(mode: str, lake: Lake, settings: Settings, tmp_path: Path) -> None:
    """Status, text, calls and divergence of every unit are the same, no wire has no form for one, and nothing is refused; nearly
    every request says what was recorded, so that loops go as deep as they did."""
    agreement = wires.compare(lake, settings, tmp_path, mode, list(WIRES))
    assert agreement.different == {}
    assert (agreement.not_everywhere, agreement.refused) == (0, {})
    assert agreement.units.total() >= 15
    assert sum(count > 0 for count in agreement.units.values()) == 5
    for known, asked in agreement.known.values():
        assert known > 0.8 * asked > 0
    assert len(set(agreement.known.values())) == 1
