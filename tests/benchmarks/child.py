"""The process of one trial: run the named function, print its numbers and the process's peak memory as JSON."""

from __future__ import annotations

import importlib
import json
import re
import resource
import sys
from pathlib import Path

_KB = 1024


def peak_bytes() -> int:
    """Largest resident memory of this process.

    Linux's own mark of this program; `ru_maxrss`, the fall-back elsewhere, also remembers the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists() and (mark := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)):
        return int(mark[1]) * _KB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KB


def main(name: str, arguments: str) -> None:
    """Run the trial `module:function` with keyword arguments given as a JSON object."""
    module, function = name.split(":")
    measure = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    print(json.dumps({**measure, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
