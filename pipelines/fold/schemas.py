"""The shapes of what the fold gives and goes on from, as Arrow schemas."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipelines.fold import shapes

_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
    shapes.MONEY: pa.decimal128(38, 12),
}


def _type(shape: shapes.Shape) -> pa.DataType:
    if isinstance(shape, list):
        return pa.list_(pa.field("l", _type(shape[0])))
    if isinstance(shape, dict):
        return pa.struct([(name, _type(each)) for name, each in shape.items()])
    return _TYPES[shape]


def _schema(columns: Mapping[str, shapes.Shape]) -> pa.Schema:
    return pa.schema([(name, _type(each)) for name, each in columns.items()])


MONEY = _type(shapes.MONEY)
STATE, LISTS, STANDING = map(_schema, (shapes.STATE, shapes.LISTS, shapes.STANDING))
WAITING = _type(shapes.WAITING)
