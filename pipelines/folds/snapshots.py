"""Where the streams of a batch stand after it: the rows of `snapshots`, from which a later month's fold goes on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.folds.before import STANDING
from pipelines.folds.columns import Bools, Column, Ints, firsts, ints, last_of, lists, offsets, one_array, take
from pipelines.folds.columns import compute as pc
from pipelines.folds.pairing import NOBODY
from pipelines.folds.places import AGENT, MODEL_CALL, ROLES, START, USER, USER_SAID
from pipelines.folds.relations import Folded

_WAITING = (
    "stream_version",
    "position",
    "message_id",
    "group_no",
    "turn",
    "actor",
    "call_id",
    "name",
    "arguments",
    "created_at",
)


def build_snapshots(folded: Folded, states: pa.Table) -> pa.Table:
    """The relation `fold_snapshots`: one row per stream, in order; what was folded (its hashes) is the plan's to say."""
    batch, places, calls = folded.batch, folded.places, folded.calls
    count, before, role = batch.streams, batch.before.columns, places.roles
    keys = _keys(batch.column("message_id"))

    def last(counts: Bools) -> Ints:
        return last_of(places.streams[counts], np.flatnonzero(counts), count)

    def total(name: str, owners: Ints) -> Column:
        return pa.array(batch.before.count(name) + np.bincount(owners, minlength=count), pa.int32())

    def key_of(counts: Bools, name: str) -> Column:
        found = last(counts)
        rows = np.append(places.rows, -1)[found]
        return pc.coalesce(take(keys, rows), one_array(before[name]))

    # nothing placed is row -1, which is the role that is none
    roles = np.append(role, 0)
    final = last(role != START)
    is_closed = (final >= 0) & (roles[final] != AGENT) & (roles[final] != MODEL_CALL)
    open_message = pc.if_else(pa.array(is_closed), pa.scalar(""), key_of(role != START, "open_message"))
    spoken = roles[last((role != START) & (role != MODEL_CALL))]
    rendered = np.bincount(batch.owners, weights=ints(batch.events["rendered"]), minlength=count)
    waits = np.flatnonzero((calls.answers == NOBODY) & (calls.hidden_by == NOBODY))

    def column(name: str) -> Column:
        """Of the calls that wait."""
        if name == "actor":
            return take(calls.actors(), waits)
        if name in ("group_no", "turn"):
            return pa.array((calls.groups if name == "group_no" else calls.turns)[waits], pa.int32())
        return calls.asked(name, waits)

    made = {
        "stream_version": states["last_version"],
        "position": states["last_position"],
        "created_at": states["last_at"],
        "groups": total("groups", places.streams[places.is_group_start]),
        "inputs": pa.array(batch.before.count("inputs") + rendered.astype(np.int64), pa.int32()),
        "hidden_results": total("hidden_results", calls.owners[calls.is_by_user & (calls.answers != NOBODY)]),
        "open_message": open_message,
        "said_in": key_of(batch.kinds[places.rows] == USER_SAID, "said_in"),
        "user_message": key_of(role == USER, "user_message"),
        "subjects": _subjects(folded),
        "last_role": pc.coalesce(take(pa.array(ROLES, pa.string()), spoken), one_array(before["last_role"])),
        "waiting": lists(calls.owners[waits], count, [(name, column(name)) for name in _WAITING]),
    }
    return pa.table({name: made[name] if name in made else states[name] for name in STANDING})


def _subjects(folded: Folded) -> Column:
    """The people whom each stream's events are about, before the batch and in it, in order."""
    batch = folded.batch
    brought = one_array(batch.before.columns["subjects"])
    lengths = ints(pc.fill_null(pc.list_value_length(brought), 0))
    people = pa.concat_arrays([brought.flatten(), one_array(batch.events["subject_id"])]).dictionary_encode()
    owners = np.concatenate((np.repeat(np.arange(batch.streams), lengths), batch.owners))
    order = np.argsort(ints(pc.sort_indices(people.dictionary)))
    numbers = np.append(order, -1)[ints(pc.fill_null(people.indices, -1))]
    # nearly always one person after the other: what repeats the row before it needs no sorting
    is_new = (numbers >= 0) & (firsts(owners) | (numbers != np.roll(numbers, 1)))
    width = len(people.dictionary) + 1
    pairs = np.unique(owners[is_new] * width + numbers[is_new])
    names = people.dictionary.take(pa.array(np.argsort(order)[pairs % width]))
    return pa.ListArray.from_arrays(pa.array(offsets(pairs // width, batch.streams), pa.int32()), names)


def _keys(message_ids: Column) -> Column:
    """`=id`, or `-` for a message without id."""
    ids = one_array(message_ids)
    return pc.coalesce(pc.binary_join_element_wise(pa.scalar("="), ids, ""), pa.scalar("-"))
