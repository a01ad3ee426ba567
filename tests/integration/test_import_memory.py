"""A line that takes more memory to import than there is: refused before it is parsed, with the bound that would do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.chat import import_chat
from pipelines.ingest.reading.room import Room
from pipelines.lake.memory import resident_bytes

MARGIN = 120 * 10**6
LONG = 12_000_000
VALUES = 400_000


def room() -> Room:
    """What is left when the process has so much more than it takes now."""
    return Room(resident_bytes() + MARGIN, resident_bytes())


def line(name: str, text: str = "hello", **more: object) -> str:
    told = [{"role": "user", "content": text}]
    record = {"source": "shop", "conversation_id": name, "started_at": "2026-01-03T00:00:00Z", "messages": told, **more}
    return json.dumps(record, ensure_ascii=False) + "\n"


LARGE = {
    "long": line("large", "a" * LONG),
    "values": line("large", x=[{}] * VALUES),
    "messages": line("large").replace("]", ', {"role": "user", "content": "b"}' * (VALUES // 20) + "]"),
    "wide": line("large", "\N{GRINNING FACE}" + "a" * (LONG // 3)),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_line_larger_than_the_memory_is_refused_or_set_aside(store, tmp_path: Path, kind: str) -> None:
    """Nothing of the file is imported; with a file for bad lines the others are, and the large one is named there."""
    path, bad = tmp_path / "large.jsonl", tmp_path / "bad.jsonl"
    path.write_text(line("before") + LARGE[kind] + line("after"))
    with pytest.raises(BadInputError, match=r"large.jsonl:2: .* bytes and takes .* REFOLD_MEMORY=\d+MB would do"):
        import_chat(store, [path], room=room())
    assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == (0,)
    done = import_chat(store, [path], room=room(), skip_bad=bad)
    assert (done.conversations, done.skipped) == (2, 1)
    (told,) = map(json.loads, bad.read_text().splitlines())
    size = len(LARGE[kind].encode()) - 1
    assert told["line"] == 2
    assert f"the line has {size:,} bytes" in told["reason"]


LARGE_AND_DENSE = {
    "long and of many values": line("large", "a" * LONG, x=[{}] * VALUES),
    "long and wide": line("large", "a" * LONG + "\N{GRINNING FACE}"),
    "long and of many messages": line("large", "a" * LONG).replace(
        "]", ', {"role": "user", "content": "b"}' * (VALUES // 20) + "]"
    ),
}


@pytest.mark.parametrize("kind", ["values", *LARGE_AND_DENSE])
def test_the_bound_that_a_refusal_names_would_do(store, tmp_path: Path, kind: str) -> None:
    """Second route: what is refused is imported with the memory that the first refusal asks for, though no byte of it was held."""
    path = tmp_path / "large.jsonl"
    path.write_text({**LARGE, **LARGE_AND_DENSE}[kind])
    taken = resident_bytes()
    with pytest.raises(BadInputError) as refused:
        import_chat(store, [path], room=Room(taken + MARGIN, taken))
    enough = int(re.search(r"REFOLD_MEMORY=(\d+)MB", str(refused.value))[1]) * 10**6
    assert import_chat(store, [path], room=Room(enough, taken)).conversations == 1
