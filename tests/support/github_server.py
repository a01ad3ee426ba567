"""A server that speaks the calls of GitHub that keep a comment up to date, with the refusals that they meet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

Refusal = tuple[int, dict[str, str], object]
US = "github-actions[bot]"


@dataclass
class GitHub:
    """The comments of one pull request.

    Attributes:
        comments: As the API lists them, the oldest first.
        refuse: Given a method and a path, what is answered instead; None leaves it to the server.
        calls: Methods and paths, in order.
        tokens: Authorizations seen.
        most: Comments of a page, whatever is asked for.
        loses: Creations that are done but never answered.
    """

    repository: str = "acme/shop"
    number: int = 7
    comments: list[dict] = field(default_factory=list)
    refuse: Callable[[str, str], Refusal | None] = lambda _method, _path: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    most: int = 100
    loses: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v3"

    def add(self, body: str, login: str = US) -> dict:
        number = len(self.comments) + 1
        url = f"https://github.test/{self.repository}/pull/{self.number}#issuecomment-{number}"
        comment = {"id": number, "body": body, "user": {"login": login}, "html_url": url}
        self.comments.append(comment)
        return comment

    def answer(self, method: str, target: str, body: object) -> Refusal:
        url = urlsplit(target)
        path = url.path.removeprefix(f"/api/v3/repos/{self.repository}")
        self.calls.append((method, path))
        refused = self.refuse(method, path)
        if refused is not None:
            return refused
        if method == "GET" and path == f"/issues/{self.number}/comments":
            asked = parse_qs(url.query)
            size, page = min(int(asked["per_page"][0]), self.most), int(asked["page"][0])
            shown = self.comments[(page - 1) * size : page * size]
            more = len(self.comments) > page * size
            return 200, {"Link": '<https://elsewhere.test/?page=2>; rel="next"'} if more else {}, shown
        if method == "POST" and path == f"/issues/{self.number}/comments":
            made = self.add(body["body"])
            if self.loses:
                self.loses -= 1
                return 502, {}, {}
            return 201, {}, made
        if method == "PATCH" and path.startswith("/issues/comments/"):
            found = [each for each in self.comments if each["id"] == int(path.rpartition("/")[2])]
            if not found:
                return 404, {}, {"message": "Not Found"}
            found[0]["body"] = body["body"]
            return 200, {}, found[0]
        return 404, {}, {"message": "Not Found"}


@contextmanager
def github() -> Iterator[GitHub]:
    """The server, on a free port of this machine, until the context ends."""
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            pass

        def _do(self) -> None:
            state.tokens.add(self.headers.get("Authorization", ""))
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length)) if length else None
            status, headers, value = state.answer(self.command, self.path, sent)
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, each in headers.items():
                self.send_header(name, each)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _do  # noqa: N815 - the names that the base class calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
