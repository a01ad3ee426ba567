"""`refold review`: the notebook, with the queue beside it, for one person or a team's proxy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

from pipelines.desks.app import PREFIX, QueueApp
from pipelines.desks.desks import Desks
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.notebooks import serve_notebook
from pipelines.review.markup import style_sheet
from pipelines.settings import Settings
from pipelines.verdicts.desk import Queue, require_reviewer
from pipelines.web.guard import Headers, values_of

_HERE = Path(__file__).parent


def serve_review(
    settings: Settings,
    experiment: str | None,
    port: int | None,
    tell: Callable[[str], None],
    *,
    is_headless: bool,
    version_id: str | None = None,
    reviewer: str | None = None,
    queue: Queue | None = None,
) -> None:
    """Serve the review notebook on 127.0.0.1 until Ctrl-C or SIGTERM, to who has the token.

    Args:
        settings: The home.
        experiment: The experiment to open, or None for that of the newest version.
        port: The port; 0 is one that is free, None the usual one or, when that is taken, one that is free.
        tell: Takes the address to open.
        is_headless: Open no browser.
        version_id: The version to open, or None for the newest of the experiment.
        reviewer: Who reviews, unless a proxy names who does in the header of `settings`; None where nobody is named.
        queue: What is put before reviewers; None for the usual.

    Raises:
        BadInputError: The port cannot be used, or several reviewers are to judge each pair and nobody says who this one is.
    """
    queue = queue or Queue()
    header = settings.reviewer_header
    if header is None:
        require_reviewer(reviewer, queue.reviewers)
    with closing(Desks(settings, Lake.from_settings(settings), queue)) as desks:
        app = QueueApp(desks, lambda headers: name_reviewer(headers, header) if header else reviewer)
        wanted = {"REFOLD_EXPERIMENT": experiment, "REFOLD_VERSION": version_id}
        chosen = {name: value for name, value in wanted.items() if value}
        serve_notebook(
            settings,
            "review.py",
            port,
            tell,
            is_headless=is_headless,
            chosen=chosen,
            head=head(),
            beside={PREFIX: app},
        )


def name_reviewer(headers: Headers, header: str) -> str:
    """Who a proxy says that it asks for.

    Raises:
        BadInputError: It says nothing, or two things.
    """
    values = values_of(headers, header.lower().encode())
    if len(values) != 1 or not values[0].strip():
        raise BadInputError(
            f"nobody says who reviews: the proxy is to send {header} once, as REFOLD_REVIEWER_HEADER has it; nothing was recorded"
        )
    return values[0].decode("utf-8", "replace")


@cache
def head() -> str:
    """What the page's head needs for the queue: its styles and its script, of this program and nowhere else."""
    styles, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("queue.css", "queue.js"))
    return f'{style_sheet()}<style>{styles}</style><script type="module">{script}</script>'
