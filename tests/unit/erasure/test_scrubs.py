"""Records of scrubs: texts that are read as they were written, and what of the home log they cover."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipelines.audit.scrubs import audit_scrubs
from pipelines.erasure.scrub import ScrubReport
from pipelines.export.home_log import last_scrub, unscrubbed
from pipelines.proof.erasure import Erasure, Target
from pipelines.proof.manifest import ManifestError
from pipelines.proof.scrub import Rewritten, Scrub, Unreached, read_scrub
from pipelines.store import Entry, Signed
from pipelines.store.home_log import Kind

STREAM = "00000000-0000-4000-8000-000000000001"
TABLE = Rewritten(
    table="events_2026_03",
    old_filenode=16400,
    new_filenode=16500,
    old_toast=16403,
    new_toast=None,
    is_old_gone=None,
    rows=300_000,
    bytes_before=2**31,
    bytes_after=2**30,
    seconds=1.25,
)
SCRUB = Scrub(
    covers=7,
    relations=(TABLE, replace(TABLE, table="holds", is_old_gone=True)),
    wal_segments=None,
    not_reached=(Unreached("replication_slot", "a slot", "physical, restart_lsn 0/16B3748"),),
    seconds=2.0,
    server_version=180004,
    code_version="1",
    scrubbed_at="2026-03-05T00:00:00+00:00",
    public_key_id=None,
)


def log_of(*documents: tuple[Kind, str]) -> list[Entry]:
    at = datetime(2026, 3, 5, tzinfo=UTC)
    return [Entry(place, kind, None, None, Signed(text, None), at) for place, (kind, text) in enumerate(documents)]


def erased(number: int) -> tuple[Kind, str]:
    erasure = f"00000000-0000-4000-8000-{number:012d}"
    return "erased", Erasure(erasure, "asked", (Target(STREAM, 1, 1, False),), "1", "now", None).text()


def scrubbed(covers: int | None) -> tuple[Kind, str]:
    return "scrubbed", replace(SCRUB, covers=covers).text()


def test_a_record_is_read_as_it_was_written() -> None:
    """Text and document are one for the other."""
    assert read_scrub(SCRUB.text()) == SCRUB
    assert read_scrub(replace(SCRUB, covers=None).text()).covers is None


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ('"covers":7', '"covers":true'),
        ('"covers":7', '"covers":-1'),
        ('"covers":7', '"covers":"7"'),
        ('"kind":"replication_slot"', '"kind":"somewhere"'),
        ('"kind":"replication_slot",', ""),
        ("refold-scrub/1", "refold-scrub/2"),
        ('"seconds":2,', '"seconds":2.0,'),
        ("[", "[ "),
    ],
)
def test_what_is_no_record_is_refused(there: str, instead: str) -> None:
    """Another format, a member of another kind, a text that is not canonical."""
    assert there in SCRUB.text()
    with pytest.raises(ManifestError):
        read_scrub(SCRUB.text().replace(there, instead))


def test_erasures_are_covered_by_place() -> None:
    """What counts is up to where the newest scrub covers; parts of one erasure are one."""
    assert unscrubbed(log_of()) == 0
    entries = [erased(1), erased(1), erased(2)]
    assert unscrubbed(log_of(*entries)) == 2
    assert unscrubbed(log_of(*entries, scrubbed(None))) == 2
    assert unscrubbed(log_of(*entries, scrubbed(1))) == 1
    assert unscrubbed(log_of(*entries, scrubbed(2))) == 0
    assert unscrubbed(log_of(*entries, scrubbed(2), erased(3))) == 1
    assert last_scrub(log_of(*entries)) is None
    assert last_scrub(log_of(scrubbed(None), scrubbed(0))) == replace(SCRUB, covers=0)


def test_a_report_is_complete_only_when_nothing_is_left() -> None:
    """Places that were not reached, and erasures that are not covered, both speak against it."""
    clean = replace(SCRUB, not_reached=())
    assert ScrubReport(1, clean, 1, 0).is_complete
    assert not ScrubReport(1, clean, 0, 1).is_complete
    assert not ScrubReport(1, SCRUB, 1, 0).is_complete
    assert ScrubReport(None, clean, 0, 0).relations == ()


def test_a_record_covers_nothing_after_it() -> None:
    """An audit finds one that does, one that cannot be read, and one without the signature that is expected."""
    notes: list[str] = []
    entries = log_of(erased(1), scrubbed(0), scrubbed(2), ("scrubbed", "{}"))
    found = list(audit_scrubs({"store": entries, "lake": entries}, {}, notes, must_be_signed=False))
    assert [(each.code, each.place) for each in found] == [("manifest_invalid", "store")] * 2
    assert ["covers entry 2, after it" in each.detail for each in found] == [True, False]
    signed = list(audit_scrubs({"store": entries[:2]}, {}, notes, must_be_signed=True))
    assert [each.code for each in signed] == ["signature_missing"]
    assert notes == []
