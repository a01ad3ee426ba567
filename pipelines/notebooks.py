"""The notebooks: where they are, beside the package in a checkout or inside it in a wheel, and how one is served."""

from __future__ import annotations

import asyncio
import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.errors import RefoldError
from pipelines.settings import Settings
from pipelines.web.guard import App, Receive, Scope, Send
from pipelines.web.server import address, listen, new_token, run_server

USUAL_PORT = 2718
"""marimo's."""


_HEAD = """<script type="module">
// marimo's own menu has a picture and no name.
const name = () => document.querySelectorAll("button[aria-haspopup=menu]:not([aria-label])").forEach((button) => {
  if (!button.textContent.trim()) button.setAttribute("aria-label", "Menu of the page");
});
new MutationObserver(name).observe(document.documentElement, { childList: true, subtree: true });
</script>"""
"""What every notebook's page needs in its head."""


def find_notebook(name: str) -> Path:
    """The file of a notebook, for example `review.py`."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_notebooks", here.parent / "notebooks"):
        if (folder / name).is_file():
            return folder / name
    raise RefoldError(f"notebook {name} is neither in {here} nor beside it; the installation is incomplete")


def serve_notebook(
    settings: Settings,
    name: str,
    port: int | None,
    tell: Callable[[str], None],
    *,
    is_headless: bool,
    chosen: Mapping[str, str] | None = None,
    head: str | None = None,
    beside: Mapping[str, App] | None = None,
) -> None:
    """Serve a notebook on 127.0.0.1 until Ctrl-C or SIGTERM, to who has the token.

    Args:
        settings: The home.
        name: The notebook, for example `review.py`.
        port: The port; 0 is one that is free, None the usual one or, when that is taken, one that is free.
        tell: Takes the address to open.
        is_headless: Open no browser.
        chosen: What else the notebook reads from the environment.
        head: HTML for the head of its page.
        beside: Applications that answer in its place, by the beginning of their paths.

    Raises:
        BadInputError: The port cannot be used.
    """
    # The notebook reads the home as every program does.
    os.environ |= {
        "REFOLD_HOME": str(settings.home),
        "REFOLD_LAKE": str(settings.lake),
        "MARIMO_SKIP_UPDATE_CHECK": "1",
        **(chosen or {}),
    }
    import marimo  # noqa: PLC0415 - reads the environment when imported

    token = new_token()
    with listen(port, USUAL_PORT) as listener:
        url = address(listener, token)
        notebook = str(find_notebook(name))
        builder = marimo.create_asgi_app(quiet=True, html_head=_HEAD + (head or ""))
        app: Any = builder.with_app(path="/", root=notebook).build()
        tell(f"open {url} (Ctrl-C ends it)")
        try:
            with _opened(url, is_headless=is_headless):
                run_server(_Beside(app, beside or {}), listener, token)
        finally:
            # A mounted application is told neither of start nor of end (Kludex/starlette#649), and marimo's kernels are threads.
            asyncio.run(app.routes[0].app.state.session_manager.shutdown())


class _Beside:
    """An application, and others that answer what begins as their paths do."""

    def __init__(self, app: App, others: Mapping[str, App]) -> None:
        self._app = app
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or websocket."""
        path = scope.get("path", "")
        app = next((other for prefix, other in self._others.items() if path.startswith(prefix)), self._app)
        await app(scope, receive, send)


@contextmanager
def _opened(url: str, *, is_headless: bool) -> Iterator[None]:
    """The person's browser on its way to an address, by a private file: the arguments of a program are seen by everybody."""
    if is_headless:
        yield
        return
    with TemporaryDirectory(prefix="refold-") as folder:  # its mode is 0700
        page = Path(folder) / "open.html"
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}">', encoding="utf-8")
        webbrowser.open(page.as_uri())
        yield
