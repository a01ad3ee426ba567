"""What turns one call's arguments into another's, as a JSON Patch (RFC 6902): for showing, and for other tools.

One call at a time, on demand. What SQL groups by are the operations of `arguments`, which are stored; a patch is one of
many that do the same, so nothing is compared by it.
"""

from __future__ import annotations

import json
from typing import Any

import jsonpatch

from pipelines.canonical.calls import Canonicaliser

Patch = list[dict[str, Any]]
"""Operations of RFC 6902, in the order in which they are applied."""


def arguments_patch(old: str | None, new: str | None) -> Patch | None:
    """The patch that turns the arguments `old` into `new`.

    Both are taken as values in canonical form (`canonical.jcs`): how they are written makes no operation.

    Args:
        old: JSON text of A's arguments; None for none.
        new: JSON text of B's.

    Returns:
        The operations, none for equal values; None when a side has no arguments or they are not JSON.
    """
    reader = Canonicaliser()
    calls = [reader.read("", text) for text in (old, new)]
    if not all(call.is_json for call in calls):
        return None
    before, after = (json.loads(call.l1) for call in calls)
    patch: Patch = jsonpatch.make_patch(before, after).patch
    return patch
