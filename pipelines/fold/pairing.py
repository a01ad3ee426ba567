"""Which result answers which tool call.

A result answers the first unanswered call of the most recent message that asked with its id; a message that asks with an
id hides older calls with the same one, and the ids null and '' are one. Ids of real logs repeat, so they are never keys by
themselves. A result that comes when no call waits answers nothing, also no later call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.fold.columns import Bools, Ints, first_rows, firsts, previous, running, running_most

NOBODY = -1
"""Instead of a row: no result, or no later message that hides the call."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The calls among the given rows, in the order given.

    Attributes:
        calls: Rows that are calls.
        answers: For each, the row of its result, or `NOBODY`.
        hidden_by: For each, the row of the call that hides it from later results, or `NOBODY`.
    """

    calls: Ints
    answers: Ints
    hidden_by: Ints


def pair(streams: Ints, ids: Ints, asked_in: Ints, is_call: Bools) -> Pairs:
    """Pair calls and results.

    Args:
        streams: Stream of each call or result; rows of a stream are in its order.
        ids: Number of the call id; equal ids have equal numbers.
        asked_in: For calls: number of the message that asked, unique within the stream and not negative.
        is_call: Whether it is a call; else it is a result.
    """
    order = np.lexsort((ids, streams))
    s, key, asked, call = streams[order], ids[order], asked_in[order], is_call[order]
    threads: Ints = np.cumsum(firsts(s) | firsts(key), dtype=np.int64)
    asked_before = previous(asked, call, first_rows(threads), np.full(len(order), NOBODY))
    is_block_start = call & (asked_before != asked)
    blocks: Ints = np.cumsum(is_block_start | firsts(threads), dtype=np.int64)
    first = first_rows(blocks)
    calls = running(call, first)
    results = running(~call, first)
    strays = running_most(np.maximum(results - calls, 0), blocks)
    is_stray = strays != previous(strays, np.ones(len(order), bool), first, np.zeros(len(order), np.int64))
    width = len(order) + 1
    asking, answering = np.flatnonzero(call), np.flatnonzero(~call & ~is_stray)
    wanted = blocks[answering] * width + (results - strays)[answering]
    found = np.searchsorted(blocks[asking] * width + calls[asking], wanted)
    answers = np.full(len(order), NOBODY)
    answers[order[asking[found]]] = order[answering]
    starts = np.flatnonzero(is_block_start)
    following = np.searchsorted(starts, asking, side="right")
    next_start = np.append(starts, NOBODY)[following]
    is_hidden = (next_start != NOBODY) & (threads[np.maximum(next_start, 0)] == threads[asking])
    hidden_by = np.full(len(order), NOBODY)
    hidden_by[order[asking[is_hidden]]] = order[next_start[is_hidden]]
    rows = np.flatnonzero(is_call)
    return Pairs(rows, answers[rows], hidden_by[rows])
