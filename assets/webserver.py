"""Dagster's web page behind the guard: `python -m assets.webserver DESCRIPTOR WORKSPACE`, the token on standard input.

What `dagster-webserver` does, on a socket that is inherited and for who has the token; `assets.ui` starts it.
"""

from __future__ import annotations

import socket
import sys

import dagster as dg
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from assets.internals import open_workspace
from pipelines.web.server import run_server

_STATEMENT_MS, _RECYCLE_SECONDS, _OVERFLOW = 15_000, 3_600, 20
"""How `dagster-webserver` uses the run database when nothing else is said."""
_POLL_MS = 2_000
"""Between two looks of the page for news of assets, likewise."""
GRAPHQL = "/graphql"


def main() -> None:
    """Serve until SIGTERM."""
    descriptor, workspace = sys.argv[1:]
    token = sys.stdin.read()
    with socket.socket(fileno=int(descriptor)) as listener, dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_MS, _RECYCLE_SECONDS, _OVERFLOW)
        with open_workspace(instance, __version__, workspace) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)
            run_server(app, listener, token, post_only=[GRAPHQL])


if __name__ == "__main__":
    main()
