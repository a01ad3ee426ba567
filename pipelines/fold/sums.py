"""Exact sums of recorded numbers by owner: counts as 64-bit integers, money as decimals of 12 places.

Sums must not depend on the order of addition, so nothing here is added up as a float. Numbers whose sums fit into 64 bits
take a fast way; others are Python's integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.fold.columns import Column, Ints, ints, running
from pipelines.fold.columns import compute as pc
from pipelines.fold.schemas import MONEY

_PLACES = 12
_ALL_DIGITS = Context(prec=77)
"""Python rounds to 28 digits otherwise, also where a point is moved."""
_SAFE = 2.0**62
"""Sums below this, as a float that is only nearly right, are surely below 2^63."""
_EXACT = 2**53
"""Whole numbers up to this are floats exactly, so that a division rounds once."""


def sums(columns: Sequence[Column], owners: Sequence[Ints], count: int, first: Ints | None = None) -> Column:
    """The sums of the values that are not null, for each of the owners 0 … count-1; null where there is none.

    Args:
        columns: Of one type: integers, or `MONEY`.
        owners: Owner of each value, for each of the columns.
        count: Number of owners.
        first: For every owner the first of those whose values are summed together with its own: running sums.

    Raises:
        BadInputError: A sum of integers does not fit into 64 bits, or one of money into 38 digits.
    """
    is_known = [np.asarray(pc.is_valid(column), bool) for column in columns]
    holders = np.concatenate([each[known] for each, known in zip(owners, is_known, strict=True)])
    values = np.concatenate([_whole(column.drop_null()) for column in columns])
    if values.dtype != object and np.abs(values.astype(np.float64)).sum() >= _SAFE:
        values = values.astype(object)
    totals = np.zeros(count, values.dtype)
    np.add.at(totals, holders, values)
    known = np.bincount(holders, minlength=count)
    if first is not None:
        totals, known = running(totals, first), running(known, first)
    is_summed = known > 0
    try:
        if pa.types.is_decimal(columns[0].type):
            return _money(totals, is_summed)
        return pa.array(totals, pa.int64(), mask=~is_summed)
    except (OverflowError, pa.ArrowInvalid) as error:
        raise BadInputError(f"the recorded numbers of a stream are too large to be summed: {max(totals)}") from error


def as_floats(money: Column) -> Column:
    """Decimals as the floats that are nearest to them."""
    values = _whole(money.fill_null(0))
    if values.dtype != object and bool(np.all(np.abs(values) <= _EXACT)):
        return pa.array(values / 10.0**_PLACES, mask=np.asarray(pc.is_null(money), bool))
    return pa.array([None if value is None else float(value) for value in money.to_pylist()], pa.float64())


def _whole(column: Column) -> npt.NDArray[Any]:
    """Integers without nulls; money in units of its last place: 64-bit if all fit, else Python's."""
    if not pa.types.is_decimal(column.type):
        return ints(column)
    if not len(column):
        return np.zeros(0, np.int64)
    halves = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)[column.offset : column.offset + len(column)]
    low, high = halves[:, 0], halves[:, 1]
    if bool(np.all(high == low >> 63)):
        return low
    return np.array([int(value.scaleb(_PLACES, _ALL_DIGITS)) for value in column.to_pylist()], object)


def _money(values: npt.NDArray[Any], is_known: npt.NDArray[np.bool_]) -> Column:
    if values.dtype != object:
        halves = np.stack((values, values >> 63), axis=1)
        return pa.Array.from_buffers(
            MONEY, len(values), [pa.array(is_known).buffers()[1], pa.py_buffer(halves.tobytes())]
        )
    decimals = [
        Decimal(int(value)).scaleb(-_PLACES, _ALL_DIGITS) if known else None
        for value, known in zip(values, is_known, strict=True)
    ]
    return pa.array(decimals, MONEY)
