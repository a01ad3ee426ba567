"""OpenTelemetry's files read otherwise: line by line as they are written or record by record, by one process or by two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError, RefoldError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_helper import Helper, dividing, helped, made_together
from pipelines.ingest.form_lines import Read, form_lines, line_bytes
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel import groups
from pipelines.ingest.forms.otel.raw import Blocks
from pipelines.ingest.forms.otlp import FORM
from tests.support.formats import samples
from tests.support.otlp import call, request, span

PIECE = 8


@pytest.fixture
def options(tmp_path: Path) -> Options:
    (tmp_path / "own").mkdir()
    return Options(folder=tmp_path / "own")


def read_alone(paths: list[Path], options: Options) -> tuple[bytes, Read]:
    read = Read("otlp", Tally())
    return b"".join(map(line_bytes, form_lines(FORM, paths, options, read.tally, read))), read


def fresh(options: Options) -> Options:
    for each in options.folder.iterdir():
        each.unlink()
    return options


def test_records_as_they_are_written(shared_data: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are only looked through come to what they do when they are read whole, and nearly all are such."""
    looked, all_of = [0, 0], Blocks.of

    def counted(self: Blocks, data: bytes) -> Any:
        found = all_of(self, data)
        looked[found is None] += 1
        return found

    for sample in samples(shared_data, "01-otlp"):
        monkeypatch.setattr(Blocks, "of", counted)
        fast = read_alone([sample.path], fresh(options))
        monkeypatch.setattr(Blocks, "of", lambda _self, _data: None)
        assert fast == read_alone([sample.path], fresh(options)), sample.name
    assert looked[0] > 10 * looked[1]


BAD = [
    ({"attributes": [{"key": "a", "value": {"intValue": "x"}}]}, "spans[1]: an intValue is 'x'"),
    ({"attributes": [{"key": "a", "value": {"stringValue": "x", "intValue": 1}}]}, "spans[1]: a value says"),
    ({"attributes": [{"value": {"stringValue": "x"}}]}, "spans[1]: not as OTLP has it (KeyError: 'key')"),
    ({"events": [{"timeUnixNano": "soon"}]}, "spans[1]: timeUnixNano is 'soon'"),
    ({"events": 7}, "spans[1]: not as OTLP has it (TypeError"),
    ({"links": [{"traceId": "nobody"}]}, "spans[1]: traceId is 'nobody'"),
    ({"traceId": 5}, "spans[1]: traceId is 5"),
    ({"startTimeUnixNano": True}, "spans[1]: startTimeUnixNano is True"),
]


@pytest.mark.parametrize(("more", "told"), BAD)
def test_what_is_wrong_is_told_with_its_place(
    more: dict[str, Any], told: str, tmp_path: Path, options: Options
) -> None:
    """A record that is found to be none only when it is read is refused as one that is read whole."""
    path = tmp_path / "bad.jsonl"
    path.write_text(request(call(1, ["hi"])) + "\n" + request(call(2, ["ho"]), {**span(3), **more}) + "\n")
    with pytest.raises(BadInputError) as raised:
        read_alone([path], options)
    assert str(raised.value).startswith("bad.jsonl:2: $.resourceSpans[0].scopeSpans[0].")
    assert told in str(raised.value)


def test_text_that_is_none(tmp_path: Path, options: Options) -> None:
    """Bytes that are no UTF-8 in a text that the index does not need are refused with their place."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(request(call(1, ["hi"])).encode().replace(b"hi", b"h\xff") + b"\n" + request(span(2)).encode())
    with pytest.raises(BadInputError, match=r"bad.jsonl:1: byte \d+ is not UTF-8"):
        read_alone([path], options)


# ---------------------------------------------------------------- two processes


def spans_of(traces: int) -> Iterator[str]:
    """Conversations of two calls, each in its own trace, and a long one."""
    for n in range(traces):
        pair = [call(1, ["hi"]), call(2, ["hi", "ho", f"and {n}"], start=1_700_000_000_000_000_000 + 10_000 * n)]
        yield request(*({**each, "traceId": f"{n + 1:032x}"} for each in pair))
    yield request(*({**span(n), "traceId": "f" * 32} for n in range(1, 3 * PIECE)))


def read_by_two(path: Path, options: Options, helper: Helper) -> tuple[bytes, Read]:
    read, lines = Read("otlp", Tally()), []
    divided = dividing(FORM)
    assert divided is not None
    for made in made_together(FORM, divided, helper, [path], options):
        lines.append(made.lines)
        read.places.extend(made.read.places)
        read.conversations.extend(made.read.conversations)
        read.tally.add(made.read.tally)
    return b"".join(lines), read


@pytest.mark.filterwarnings("error")
def test_two_processes(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """They give the same lines in the same order, and of two errors the first one's; one that was ended is told."""
    monkeypatch.setattr(groups, "_MOST_IN_PIECE", PIECE)
    path = tmp_path / "a.jsonl"
    lines = [*spans_of(100)]
    path.write_text("\n".join(lines))
    alone = read_alone([path], options)
    with helped("otlp", tmp_path, [path], fresh(options)) as helper:
        assert read_by_two(path, options, helper) == alone
        assert helper.asked == 0
        for bad in (60, 40):
            lines[bad] = lines[bad].replace('{"stringValue": "chat"}', '{"intValue": "chat"}')
        path.write_text("\n".join(lines))
        with pytest.raises(BadInputError, match=r"a.jsonl:41: .*an intValue is 'chat'"):
            read_by_two(path, fresh(options), helper)
    with helped("otlp", tmp_path, [path], options) as helper:
        helper._process.kill()
        with pytest.raises(RefoldError, match="a process that read the files ended with code -9"):
            read_by_two(path, fresh(options), helper)
