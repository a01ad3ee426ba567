"""The identity of a list of tool schemas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def tools_sha256(tools: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 (hex) of a list of tool schemas as sent: compact JSON with sorted keys."""
    text = json.dumps(list(tools), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
