"""The best assignment of rows to columns, exactly, with weights that are integers of any size.

A lexicographic objective (first the most of this, then the most of that, then the least distance) is one assignment
problem whose weights are numbers in a mixed base. Floating-point solvers cannot hold such weights; Python's integers
can. Nothing here knows about tool calls.
"""

from __future__ import annotations

from collections.abc import Sequence

_FREE = -1


def best_assignment(weights: Sequence[Sequence[int]]) -> list[int]:
    """Assign every row to a column of its own so that the sum of weights is greatest.

    Shortest augmenting paths with potentials (Kuhn 1955, Munkres 1957; in this form Jonker & Volgenant 1987),
    O(rows^2 * columns).

    Args:
        weights: Weight per row and column; at least as many columns as rows.

    Returns:
        The column of each row. Among equally good assignments, always the same one for the same input.

    Raises:
        ValueError: Fewer columns than rows.
    """
    rows = len(weights)
    columns = len(weights[0]) if rows else 0
    if columns < rows:
        raise ValueError(f"{rows} rows cannot have a column each out of {columns}")
    row_potential = [0] * rows
    column_potential = [0] * columns
    row_of = [_FREE] * columns
    for row in range(rows):
        _place(row, weights, row_potential, column_potential, row_of)
    result = [_FREE] * rows
    for column, row in enumerate(row_of):
        if row != _FREE:
            result[row] = column
    return result


def _place(
    row: int,
    weights: Sequence[Sequence[int]],
    row_potential: list[int],
    column_potential: list[int],
    row_of: list[int],
) -> None:
    """Give `row` a column along the shortest augmenting path (Dijkstra over reduced costs), moving others on the way.

    Cost is minus weight; before and after, cost - row potential - column potential is at least 0 for the rows placed so
    far, and 0 where they are assigned.
    """
    distance: list[int | None] = [None] * len(row_of)
    came_from = [_FREE] * len(row_of)
    settled: list[int] = []
    open_columns = list(range(len(row_of)))
    current, via, reached = row, _FREE, 0
    while True:
        line = weights[current]
        base = reached - row_potential[current]
        nearest, shortest = _FREE, 0
        for column in open_columns:
            length = base - line[column] - column_potential[column]
            known = distance[column]
            if known is None or length < known:
                distance[column] = known = length
                came_from[column] = via
            if nearest == _FREE or known < shortest:
                nearest, shortest = column, known
        reached = shortest
        if row_of[nearest] == _FREE:
            break
        open_columns.remove(nearest)
        settled.append(nearest)
        current, via = row_of[nearest], nearest
    row_potential[row] += reached
    for column in settled:
        slack = reached - (distance[column] or 0)
        row_potential[row_of[column]] += slack
        column_potential[column] -= slack
    column = nearest
    while came_from[column] != _FREE:
        row_of[column] = row_of[came_from[column]]
        column = came_from[column]
    row_of[column] = row
