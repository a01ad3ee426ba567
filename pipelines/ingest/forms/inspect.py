"""Inspect: logs of evaluations as `.eval` (a zip of samples) and as JSON, and Scout's transcripts as Parquet.

A sample is a conversation. What a log says of all of them (task, model, settings) stands in its header, which every sample's group
has as its first record; a log that is still being written has that of its journal. What samples and events say is `stores.samples`'.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Group, Record, Row
from pipelines.ingest.canonical import digest
from pipelines.ingest.faults import shown
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.reading import parse_record
from pipelines.ingest.forms.stores.samples import rows_of
from pipelines.ingest.forms.stores.tables import column_names, read_objects, refuse, room_of
from pipelines.ingest.forms.stores.values import decode_fields, first_text

_ZIP = b"PK\x03\x04"
_SAMPLE = re.compile(r"samples/(?P<id>.*)_epoch_(?P<epoch>\d+)\.json")
_ZSTD = 93
"""Method by which members are compressed since 2026; Python's zipfile reads it from 3.14 on."""
_LOCAL_HEADER = 30
_ATTACHMENT = re.compile(r"attachment://([0-9a-f]{32})")
_COLUMNS = ("messages", "events", "events_data", "timelines", "scores", "agent_args", "model_options", "generate_config", "task_args",
            "model_roles", "sample_metadata", "eval_metadata")  # fmt: skip
"""Columns of a transcript that hold JSON."""
_HEADER_OF_ROW = {
    "eval_id": "source_id",
    "task": "task_set",
    "model": "model",
    "model_generate_config": "generate_config",
    "task_args": "task_args",
}
_SAMPLE_OF_ROW = {"id": "task_id", "epoch": "task_repeat", "uuid": "transcript_id"}
_OF_EACH = ("version", "status", "eval")
"""Fields of a header that say something of every sample."""
Sample = tuple[str, dict[str, Any], dict[str, Any]]
"""Place, header and sample."""


class Inspect:
    """The form `inspect`."""

    name = "inspect"

    def recognises(self, head: Head) -> bool:
        """Whether it is a log, whole or as JSON, or a table of transcripts."""
        if head.data.startswith(_ZIP):
            return head.path.suffix == ".eval" or b"_journal/" in head.data[:1000] or b"samples/" in head.data[:1000]
        if not head.values:
            is_log = head.data.lstrip()[:1] == b"{" and head.names("eval", "plan", "samples")
            return is_log or {"transcript_id", "messages", "source_type"} <= column_names(head)
        first = head.first
        return isinstance(first.get("eval"), dict) and ("samples" in first or "plan" in first)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The samples of all files, one that stands in several of them once; see `Form.groups`."""
        seen: dict[str, tuple[str, str]] = {}
        for path in files:
            about: dict[str, Any] | None = None
            for place, header, sample in _samples(path, options):
                key = _key(header, sample)
                said = digest(_told(sample))
                if key in seen:
                    if seen[key][1] == said:
                        continue  # a log that was retried has the samples of the one before
                    raise refuse(
                        place,
                        f"sample {key} stands in {seen[key][0]} too, and says something else there; give one of them",
                    )
                seen[key] = place, said
                facts = header if header is not about else {name: header[name] for name in _OF_EACH if name in header}
                about = header  # what it says of the whole log is kept with the first sample
                yield Group(key, is_named=True, records=_records(place, facts, sample))

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The rows of one sample; see `Form.adapt`."""
        yield from rows_of(group, options)


FORM = Inspect()


def _samples(path: Path, options: Options) -> Iterator[Sample]:
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP
            if is_zip:
                yield from _zipped(path, file, options)
                return
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error
    for place, value in read_objects(path, options):
        if "transcript_id" in value:
            yield _of_row(place, value)
        elif isinstance(value.get("eval"), dict):
            at = place if "#" in place else f"{path.name}#"
            samples = value.pop("samples", None) or []
            if not isinstance(samples, list):
                raise refuse(f"{at}samples", "samples must be an array")
            for n, sample in enumerate(samples):
                where = f"{at}samples[{n}]"
                if not isinstance(sample, dict):
                    raise refuse(where, "a sample must be an object")
                yield where, value, sample
        else:
            raise refuse(place, f"no log of Inspect: it has {', '.join(sorted(value)[:8])}, and no eval")


def _zipped(path: Path, file: IO[bytes], options: Options) -> Iterator[Sample]:
    most = room_of(options).max_line_bytes
    try:
        with zipfile.ZipFile(file) as log:
            members = {each.filename: each for each in log.infolist()}

            def read(name: str) -> Any:
                place = f"{path.name}#{name}"
                if members[name].file_size > most:
                    raise refuse(
                        place,
                        f"{members[name].file_size:,} bytes, more than the {most:,} that fit; set a larger REFOLD_MEMORY",
                    )
                try:
                    data = _member(log, members[name], file)
                except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
                    raise refuse(place, f"the member is damaged: {error}") from error
                return parse_record(data, place)

            header: Any = next((read(name) for name in ("header.json", "_journal/start.json") if name in members), {})
            if not isinstance(header, dict):
                raise refuse(f"{path.name}#header.json", "the header must be an object")
            found = [(each, match) for each in members if (match := _SAMPLE.fullmatch(each))]
            for name, _ in sorted(found, key=lambda each: int(each[1]["epoch"])):
                sample = read(name)
                if not isinstance(sample, dict):
                    raise refuse(f"{path.name}#{name}", "a sample must be an object")
                yield f"{path.name}#{name}", header, sample
    except zipfile.BadZipFile as error:
        raise refuse(
            path.name, f"no whole zip file: {error}; a log that was cut off can be recovered with inspect log recover"
        ) from error


def _member(log: zipfile.ZipFile, member: zipfile.ZipInfo, file: IO[bytes]) -> bytes:
    if member.compress_type != _ZSTD:
        return log.read(member)
    import pyarrow as pa  # noqa: PLC0415 -- a quarter of a second that older logs need not take

    file.seek(member.header_offset)
    local = file.read(_LOCAL_HEADER)
    file.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
    packed = file.read(member.compress_size)
    data = pa.decompress(packed, decompressed_size=member.file_size, codec="zstd", asbytes=True)
    if zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile("its checksum is another")
    return bytes(data)


def _of_row(place: str, row: dict[str, Any]) -> Sample:
    """The header and the sample of a transcript; what else it says stays on the sample."""
    decode_fields(row, *_COLUMNS)
    header = {name: row.pop(column) for name, column in _HEADER_OF_ROW.items() if row.get(column) is not None}
    sample = {name: row.pop(column) for name, column in _SAMPLE_OF_ROW.items() if row.get(column) is not None}
    return place, {"eval": header}, {**row, **sample}


def _key(header: dict[str, Any], sample: dict[str, Any]) -> str:
    known = sample.get("uuid")
    if isinstance(known, str) and known:
        return known
    log = header.get("eval") or {}
    return f"{log.get('eval_id') or log.get('run_id')}/{sample.get('id')}/{sample.get('epoch')}"


def _told(sample: dict[str, Any]) -> list[Any]:
    """What was said and called, however the log was written: by it copies of a sample are told from others of its name."""
    attachments, messages = sample.get("attachments"), sample.get("messages")
    told = [
        [
            each.get("role"),
            each.get("content"),
            [[call.get("function"), call.get("arguments")] for call in _objects(each.get("tool_calls"))],
        ]
        for each in _objects(messages)
    ]
    return list(_resolved(told, attachments if isinstance(attachments, dict) else {}))


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _records(place: str, header: dict[str, Any], sample: dict[str, Any]) -> Iterator[Record]:
    """The header, the sample and its events; what stands for a text or a message elsewhere is put in its place."""
    yield Record(place.partition("#")[0], _copied(header), leaves(header), "header")
    attachments = sample.pop("attachments", None) or {}
    sample = _resolved(sample, attachments if isinstance(attachments, dict) else {})
    pool = sample.pop("events_data", None) or {}
    pool = pool if isinstance(pool, dict) else {}
    messages = sample.pop("message_pool", None) or pool.get("messages") or []
    calls = sample.pop("call_pool", None) or pool.get("calls") or []
    events = sample.pop("events", None) or []
    if not isinstance(events, list):
        raise refuse(f"{place}.events", f"is {shown(events)}; events are an array")
    yield Record(place, sample, leaves(sample), "sample")
    ends = {
        first_text(each, "id"): each for each in events if isinstance(each, dict) and each.get("event") == "span_end"
    }
    for n, event in enumerate(_flat(events)):
        where = f"{place}.events[{n}]"
        if not isinstance(event, dict):
            raise refuse(where, "an event must be an object")
        if event.get("event") == "span_end" and first_text(event, "id") in ends:
            continue
        if event.get("event") == "span_begin" and (end := ends.get(first_text(event, "id"))) is not None:
            event["end"] = {key: value for key, value in end.items() if key not in ("id", "span_id", "event")}
        _refer(event, "input_refs", "input", messages, sample.get("messages"))
        call = event.get("call")
        if isinstance(call, dict) and isinstance(call.get("request"), dict):
            call["request"] |= {name: call.pop(name) for name in ("call_refs", "call_key") if name in call}
            _refer(call["request"], "call_refs", call["request"].pop("call_key", None) or "messages", calls, None)
        yield Record(where, event, leaves(event), "event")


def _flat(events: Sequence[Any]) -> Iterator[Any]:
    """Events, and those that older logs nest inside of a tool's, after it."""
    for event in events:
        nested = event.pop("events", None) if isinstance(event, dict) else None
        yield event
        if isinstance(nested, list):
            for each in nested:
                if isinstance(each, dict):
                    each.setdefault("span_id", event.get("uuid"))
            yield from _flat(nested)


def _refer(value: dict[str, Any], refs: str, name: str, pool: list[Any], messages: Any) -> None:
    """Put in what half-open ranges of a pool stand for; where they lead out of it, they stay.

    Logs that were written again may have lost their pool. What was sent is then what stands in the sample's messages before the
    answer, if these are as many.
    """
    ranges = value.get(refs)
    if not isinstance(ranges, list) or not ranges:
        value.pop(refs, None)
        return
    try:
        wanted = [n for begin, end in ranges for n in range(begin, min(end, len(pool) + 1))]
        found = [_copied(pool[n]) for n in wanted]
    except (TypeError, ValueError, IndexError, KeyError):
        found = _before_answer(value, ranges, messages)
    if found:
        value[name] = found
        del value[refs]


def _before_answer(event: dict[str, Any], ranges: list[Any], messages: Any) -> list[Any]:
    try:
        count = sum(end - begin for begin, end in ranges)
        answer = event["output"]["choices"][0]["message"]["id"]
        at = next(n for n, each in enumerate(messages) if each["id"] == answer)
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        return []
    return [_copied(each) for each in messages[:at]] if at == count else []


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _resolved(value: Any, attachments: dict[str, Any]) -> Any:
    """A value with the texts that stand in the attachments of its sample; one that is not there stays a name."""
    if isinstance(value, str):
        if "attachment://" not in value:
            return value
        return _ATTACHMENT.sub(lambda found: str(attachments.get(found[1], found[0])), value)
    if isinstance(value, dict):
        return {key: _resolved(inner, attachments) for key, inner in value.items()}
    return [_resolved(inner, attachments) for inner in value] if isinstance(value, list) else value
