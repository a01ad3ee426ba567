"""Records of an export request as they stand in its line: what the index says of each is read, the record itself is not.

A request that is not written as the specification has it is none of these, and is read whole (`values`), which also says what is
wrong with one. Records are parsed when their conversation's turn has come, so a record is parsed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pipelines.ingest.forms.otel.values import SIGNALS, NotOtlpError, around_of, plain

_NONE = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder().decode
_NOT_READ = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NotOtlpError, TypeError, AttributeError)
_SURROUNDINGS_HELD = 256


class _KeyValue(msgspec.Struct, gc=False):
    key: str
    value: msgspec.Raw = _NONE


class Head(msgspec.Struct, gc=False, rename="camel"):
    """What the index needs of a span or a log record, as it is written."""

    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    start_time_unix_nano: str | int | None = None
    end_time_unix_nano: str | int | None = None
    time_unix_nano: str | int | None = None
    observed_time_unix_nano: str | int | None = None
    attributes: list[_KeyValue] | None = None

    def named(self, names: dict[str, int]) -> dict[str, Any]:
        """Those of its attributes that have one of these names, plain."""
        return {each.key: plain(_decode(each.value)) for each in self.attributes or () if each.key in names}


class _Scope(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    scope: msgspec.Raw = _NONE
    schema_url: str | None = None
    spans: list[msgspec.Raw] | None = None
    log_records: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    resource: msgspec.Raw = _NONE
    schema_url: str | None = None
    scope_spans: list[_Scope] | None = None
    scope_logs: list[_Scope] | None = None


class _Request(msgspec.Struct, gc=False, rename="camel"):
    resource_spans: list[_Resource] | None = None
    resource_logs: list[_Resource] | None = None


class _ScopeHeads(msgspec.Struct, gc=False, rename="camel"):
    spans: list[Head] | None = None
    log_records: list[Head] | None = None


class _ResourceHeads(msgspec.Struct, gc=False, rename="camel"):
    scope_spans: list[_ScopeHeads] | None = None
    scope_logs: list[_ScopeHeads] | None = None


class _RequestHeads(msgspec.Struct, gc=False, rename="camel"):
    resource_spans: list[_ResourceHeads] | None = None
    resource_logs: list[_ResourceHeads] | None = None


_request = msgspec.json.Decoder(_Request).decode
_heads = msgspec.json.Decoder(_RequestHeads).decode


@dataclass(slots=True)
class RawBlock:
    """The records of one scope in an export request.

    Attributes:
        is_logs: Whether they are log records; else spans.
        records: Each as it is written.
        heads: What the index needs of each.
        around: As of `values.Block`; the same object for blocks that say the same.
    """

    is_logs: bool
    records: list[msgspec.Raw]
    heads: list[Head]
    around: dict[str, Any]


class Blocks:
    """Reads requests, and holds what their blocks said last."""

    def __init__(self) -> None:
        self._around: dict[tuple[Any, ...], dict[str, Any]] = {}

    def of(self, data: bytes) -> list[RawBlock] | None:
        """The blocks of a line; None where it must be read whole."""
        if b"\\u0000" in data:
            return None
        try:
            request = _request(data)
            if request.resource_spans is None and request.resource_logs is None:
                return None
            return [*self._blocks(request, _heads(data))]
        except _NOT_READ:
            return None

    def _blocks(self, request: _Request, heads: _RequestHeads) -> Iterator[RawBlock]:
        for resource, found in zip(request.resource_spans or (), heads.resource_spans or (), strict=True):
            if resource.scope_logs is not None:
                raise NotOtlpError("log records among spans")
            for scope, inner in zip(resource.scope_spans or (), found.scope_spans or (), strict=True):
                if scope.log_records is not None:
                    raise NotOtlpError("log records among spans")
                yield RawBlock(False, scope.spans or [], inner.spans or [], self._said(False, resource, scope))
        for resource, found in zip(request.resource_logs or (), heads.resource_logs or (), strict=True):
            if resource.scope_spans is not None:
                raise NotOtlpError("spans among log records")
            for scope, inner in zip(resource.scope_logs or (), found.scope_logs or (), strict=True):
                if scope.spans is not None:
                    raise NotOtlpError("spans among log records")
                said = self._said(True, resource, scope)
                yield RawBlock(True, scope.log_records or [], inner.log_records or [], said)

    def _said(self, is_logs: bool, resource: _Resource, scope: _Scope) -> dict[str, Any]:
        key = is_logs, bytes(resource.resource), resource.schema_url, bytes(scope.scope), scope.schema_url
        known = self._around.get(key)
        if known is None:
            if len(self._around) >= _SURROUNDINGS_HELD:
                self._around.clear()
            outer, inner = (
                {name: value, **({} if url is None else {"schemaUrl": url})}
                for name, value, url in (
                    ("resource", _decode(resource.resource), resource.schema_url),
                    ("scope", _decode(scope.scope), scope.schema_url),
                )
            )
            known = self._around[key] = around_of(outer, inner, SIGNALS[is_logs])
        return known


def joined(records: Sequence[msgspec.Raw]) -> bytes:
    """Records as one JSON list."""
    return b"[" + b",".join(records) + b"]"
