"""Real files in which anything may stand anywhere are imported whole or refused by name: a short run of the acceptance."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.changed_files import told, try_changes


def test_changed_files_are_read_or_refused(shared_data: Path) -> None:
    """Of every form, twenty files with something odd in them: nothing that was not foreseen, and no scalar lost."""
    made = try_changes(shared_data, 280, seed=7)
    assert len(made) == 14
    assert sum(len(each.other) for each in made.values()) == 0, "\n".join(told(made))
    assert all(each.read for each in made.values())
