"""Where the streams of a batch stand after it: the rows of `snapshots`, from which a later month's fold goes on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.fold.carry import ERASED_MESSAGE
from pipelines.fold.columns import Bools, Column, Ints, bools, firsts, ints, lists, offsets, one_array, take
from pipelines.fold.columns import compute as pc
from pipelines.fold.fold import Folded
from pipelines.fold.messages import MODEL_CALL, ROLES, START, USER, USER_SAID, is_agent, is_asking
from pipelines.fold.pairing import NOBODY
from pipelines.fold.pieces import Pieces
from pipelines.fold.schemas import STANDING
from pipelines.fold.tool_calls import ARGUMENTS, ToolCalls


def build_snapshots(folded: Folded, pieces: Pieces, counted: pa.Table) -> pa.Table:
    """Where streams stand at the end of each piece, in order; what was folded (its hashes) is the plan's to say.

    Args:
        folded: The batch.
        pieces: Its pieces.
        counted: What `count_states` counted of them.
    """
    places, calls, role = folded.places, folded.tool_calls, folded.places.roles
    keys = _keys(folded.batch.column("message_id"))
    # roles by event row; what has no place, and no row at all, has the role that is none
    roles = np.zeros(len(pieces.owners) + 1, np.int64)
    roles[places.rows] = role

    def newest(counts: Bools) -> Ints:
        return pieces.newest(places.rows[counts])

    def key_of(rows: Ints, name: str) -> Column:
        return pc.coalesce(take(keys, rows), pieces.carried(name))

    placed, final = newest(role != START), newest(places.names_open)
    is_closed = (final != NOBODY) & ~is_agent(roles[final])
    asks = pc.if_else(
        pa.array(placed != NOBODY), pa.array(is_asking(folded.batch.kinds[placed])), pieces.carried("is_asking")
    )
    spoken = roles[newest((role != START) & (role != MODEL_CALL))]
    rendered = np.cumsum(np.append(ints(folded.batch.events["rendered"]), 0))
    begins = folded.batch.starts[pieces.streams]
    hidden = calls.answers[calls.is_by_user & (calls.answers != NOBODY)]
    made = {
        "stream_version": counted["last_version"],
        "position": counted["last_position"],
        "created_at": counted["last_at"],
        "groups": pieces.total("groups", pieces.count(places.rows[places.is_group_start])),
        "inputs": pieces.total("inputs", rendered[pieces.lasts] - rendered[begins - 1] * (begins > 0)),
        "hidden_results": pieces.total("hidden_results", pieces.count(hidden)),
        "open_message": pc.if_else(pa.array(is_closed), pa.scalar(""), _open_keys(folded, final, keys, pieces)),
        "is_asking": asks,
        "said_in": key_of(newest(folded.batch.kinds[places.rows] == USER_SAID), "said_in"),
        "user_message": key_of(newest(role == USER), "user_message"),
        "subjects": _subjects(pieces),
        "last_role": pc.coalesce(take(pa.array(ROLES, pa.string()), spoken), pieces.carried("last_role")),
        "waiting": _waiting(calls, pieces),
    }
    return pa.table({name: made[name] if name in made else counted[name] for name in STANDING.names})


def _open_keys(folded: Folded, final: Ints, keys: Column, pieces: Pieces) -> Column:
    """The key of the message that the events `final` are of, or that the stream brings along."""
    is_erased = pa.array(np.append(bools(folded.batch.column("is_erased")), False)[final])
    return pc.coalesce(pc.if_else(is_erased, ERASED_MESSAGE, take(keys, final)), pieces.carried("open_message"))


def _waiting(calls: ToolCalls, pieces: Pieces) -> Column:
    """The calls that a result can still answer after each piece."""
    which, owners, _ = tool_calls_in(calls, pieces, is_over_in=False)
    asked = (
        "stream_version",
        "position",
        "message_id",
        "group_no",
        "turn",
        "actor",
        "call_id",
        "name",
        *ARGUMENTS,
        "is_erased",
    )
    numbers = {"group_no": calls.groups, "turn": calls.turns}

    def column(name: str) -> Column:
        if name == "actor":
            return take(calls.actors(), which)
        return pa.array(numbers[name][which], pa.int32()) if name in numbers else calls.asked(name, which)

    return lists(owners, len(pieces.streams), [(name, column(name)) for name in (*asked, "created_at")])


def tool_calls_in(calls: ToolCalls, pieces: Pieces, *, is_over_in: bool) -> tuple[Ints, Ints, Ints]:
    """Tool calls for each piece that they are in, from the one that asks to the one in which they are answered or hidden.

    Args:
        calls: The batch's calls.
        pieces: Its pieces.
        is_over_in: Whether the piece in which they are answered or hidden is one of them.

    Returns:
        By piece, then call: which call, which piece, and the event row of the result if it comes in that very piece.
    """
    finals = pieces.finals()
    over = calls.over()
    # those that wait since before are in their stream's first piece
    begins = np.where(calls.is_new, pieces.owners[calls.event_rows()], pieces.begins()[calls.owners])
    until = np.where(over != NOBODY, pieces.owners[over] + is_over_in, finals[calls.owners] + 1)
    lengths = until - begins
    which = np.repeat(np.arange(len(lengths)), lengths)
    piece = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + begins[which]
    if not pieces.is_whole:
        order = np.argsort(piece, kind="stable")
        which, piece = which[order], piece[order]
    answers = calls.answers[which]
    return which, piece, np.where((answers != NOBODY) & (pieces.owners[answers] == piece), answers, NOBODY)


def _subjects(pieces: Pieces) -> Column:
    """The people whom each stream's events are about, before the batch and up to the piece's end, in order."""
    batch = pieces.batch
    brought = one_array(batch.carry.columns["subjects"])
    lengths = ints(pc.fill_null(pc.list_value_length(brought), 0))
    people = pa.concat_arrays([brought.flatten(), one_array(batch.events["subject_id"])]).dictionary_encode()
    owners = np.concatenate((np.repeat(pieces.begins(), lengths), pieces.owners))
    order = np.argsort(ints(pc.sort_indices(people.dictionary)))
    numbers = np.append(order, -1)[ints(pc.fill_null(people.indices, -1))]
    # nearly always one person after the other: what repeats the row before it needs no sorting
    is_new = (numbers >= 0) & (firsts(owners) | (numbers != np.roll(numbers, 1)))
    width = len(people.dictionary) + 1
    pairs = np.unique(owners[is_new] * width + numbers[is_new])
    if not pieces.is_whole:
        pairs = _in_later_pieces(pieces, pairs, width)
    names = people.dictionary.take(pa.array(np.argsort(order)[pairs % width]))
    return pa.ListArray.from_arrays(pa.array(offsets(pairs // width, len(pieces.streams)), pa.int32()), names)


def _in_later_pieces(pieces: Pieces, pairs: Ints, width: int) -> Ints:
    """Numbers of piece and person, those of the streams' later pieces added."""
    piece, person = pairs // width, pairs % width
    stream = pieces.streams[piece]
    _, rows = np.unique(stream * width + person, return_index=True)
    lengths = pieces.finals()[stream[rows]] + 1 - piece[rows]
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    later: Ints = np.sort((np.repeat(piece[rows], lengths) + offset) * width + np.repeat(person[rows], lengths))
    return later


def _keys(message_ids: Column) -> Column:
    """`=id`, or `-` for a message without id."""
    ids = one_array(message_ids)
    return pc.coalesce(pc.binary_join_element_wise(pa.scalar("="), ids, ""), pa.scalar("-"))
