"""Who may ask a page that this machine serves: the person who has its token, from the page itself, and nobody else.

A page on 127.0.0.1 is reached by every other page that the same browser shows, and by every account of the machine. An ASGI
application is wrapped here; each request and each websocket must name this server (`Host`, against rebinding of names), come
from no other page (`Origin`, `Sec-Fetch-Site`), and bring the token: in the address once, then as a cookie that no script
reads and no other site sends. What changes something is a POST of JSON, which no form can send. Nothing is decided
here about what the application shows.
"""

from __future__ import annotations

import hmac
import html
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TOKEN_NAME = "token"  # noqa: S105 - the name of the parameter
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT = 80
_ADDED: tuple[tuple[bytes, bytes], ...] = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
)
"""Headers of every answer that has none of its own by that name: other pages may neither hold this one nor learn its address."""


class RefusedError(Exception):
    """A request that is not done: the status of the answer, and a sentence for whoever sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Place:
    """The place that a server has on this machine, and which requests are meant for it.

    Args:
        port: The port that is listened on; a `Host` or `Origin` with another one is foreign.
    """

    def __init__(self, port: int) -> None:
        hosts = [f"{name}:{port}" for name in _NAMES] + (list(_NAMES) if port == _HTTP_PORT else [])
        self._hosts = frozenset(host.encode() for host in hosts)
        self._origins = frozenset(b"http://" + host for host in self._hosts)
        self._address = f"http://{_NAMES[0]}:{port}"

    def check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what was meant for another host or came from another page.

        Raises:
            RefusedError: It was.
        """
        # A target such as "http://elsewhere/": a server must believe it above Host, and this one is no proxy.
        if not scope["path"].startswith("/"):
            raise RefusedError(400, "the target of a request is a path that starts with /")
        hosts = values_of(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise RefusedError(403, f"Host names another server; this one is {self._address}")
        origins = values_of(headers, b"origin")
        if any(origin.lower() not in self._origins for origin in origins) or len(origins) > 1:
            raise RefusedError(403, f"Origin is another page; this one is {self._address}")
        sites = values_of(headers, b"sec-fetch-site") if scope["type"] == "http" else []  # a websocket has an Origin
        if any(value not in (b"same-origin", b"none") for value in sites):
            # A link on another page may lead here; nothing else of it may: no picture, frame, script or form.
            is_link = scope["method"] == "GET" and not origins
            if not is_link or values_of(headers, b"sec-fetch-dest") != [b"document"]:
                raise RefusedError(403, f"another page asked; this one is {self._address}")


class Guard:
    """An ASGI application that passes on to another one only what the person with the token asked.

    Args:
        app: The application.
        token: What the address printed for the person carries.
        port: The port that is listened on; a `Host` or `Origin` with another one is foreign.
        post_only: Paths that do work: a GET with a query is refused there.
    """

    def __init__(self, app: App, token: str, port: int, *, post_only: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token.encode()
        self._cookie = secrets.token_urlsafe(32).encode()
        # Cookies know no ports: a name by port keeps two pages of one machine apart.
        self._cookie_name = f"refold_{port}".encode()
        self._place = Place(port)
        self._post_only = frozenset(post_only)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or websocket, as ASGI says."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            headers: Headers = list(scope["headers"])
            self._place.check(scope, headers)
            given, query = _split_token(scope["query_string"])
            self._check_token(given, headers)
            scope["query_string"] = query
            if scope["type"] == "http":
                self._check_method(scope, headers)
        except RefusedError as refusal:
            await _refuse(scope, send, refusal)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif given and b"text/html" in b",".join(values_of(headers, b"accept")) and scope["method"] == "GET":
            await self._enter(scope, send)
        else:
            await self._app(scope, receive, self._sender(send, is_new=bool(given)))

    def _check_token(self, given: bytes, headers: Headers) -> None:
        """Refuse who has the token neither in the address nor in a header, and not the cookie that it was changed for."""
        bearers = [value[7:] for value in values_of(headers, b"authorization") if value[:7].lower() == b"bearer "]
        pairs = (part.strip().partition(b"=") for line in values_of(headers, b"cookie") for part in line.split(b";"))
        cookies = [value for name, _, value in pairs if name == self._cookie_name]
        is_known = [hmac.compare_digest(value, self._token) for value in (given, *bearers)]
        is_known += [hmac.compare_digest(value, self._cookie) for value in cookies]
        if not any(is_known):
            raise RefusedError(403, "open the address with the token that was printed when this page was started")

    def _check_method(self, scope: Scope, headers: Headers) -> None:
        """Refuse work that is not a POST of JSON: links, forms and plain scripts of other pages can send nothing else."""
        method = scope["method"]
        if method in ("GET", "HEAD"):
            if scope["path"] in self._post_only and scope["query_string"]:
                raise RefusedError(405, "queries and mutations are sent by POST")
            return
        if method != "POST":
            raise RefusedError(405, f"{method} is not in use here; there are GET, HEAD and POST")
        types = values_of(headers, b"content-type")
        if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
            raise RefusedError(415, "a POST is JSON here: Content-Type: application/json")

    async def _enter(self, scope: Scope, send: Send) -> None:
        """Change the token for the cookie by a page that leads on to the same address without it.

        A redirection would not do: a browser that came by a link of another page sends no strict cookie along with it.
        """
        query = scope["query_string"]
        # One slash only: "//host/" is an address of another host.
        path = b"/" + bytes(scope["raw_path"]).partition(b"?")[0].lstrip(b"/\\")
        target = html.escape((path + (b"?" + query if query else b"")).decode("latin-1"))
        text = (
            f'<!doctype html><meta http-equiv="refresh" content="0;url={target}"><a href="{target}">on to the page</a>'
        )
        headers = [(b"content-security-policy", b"default-src 'none'"), (b"referrer-policy", b"no-referrer")]
        await answer(self._sender(send, is_new=True), 200, b"text/html; charset=utf-8", text, headers)

    def _sender(self, send: Send, *, is_new: bool) -> Send:
        """`send` with the headers of every answer, and with the cookie for who came by the token."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {bytes(name).lower() for name, _ in headers}
                added = _ADDED
                if is_new:
                    cookie = b"%b=%b; Path=/; HttpOnly; SameSite=Strict" % (self._cookie_name, self._cookie)
                    added += ((b"set-cookie", cookie), (b"cache-control", b"no-store"))
                message["headers"] = headers + [(name, value) for name, value in added if name not in names]
            await send(message)

        return send_more


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """The values of a header, as often as it came."""
    return [value for key, value in headers if key.lower() == name]


def _split_token(query: bytes) -> tuple[bytes, bytes]:
    """The token of a query and the query without it, which is left as it is when there is none."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    given = [value for name, value in pairs if name == TOKEN_NAME]
    if not given:
        return b"", query
    rest = urlencode([(name, value) for name, value in pairs if name != TOKEN_NAME])
    return given[0].encode(), rest.encode()


async def _refuse(scope: Scope, send: Send, refusal: RefusedError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)})  # before it is accepted: HTTP 403
    else:
        text = f"refold: {refusal}\n" if scope["method"] != "HEAD" else ""
        await answer(send, refusal.status, b"text/plain; charset=utf-8", text, list(_ADDED))


async def answer(send: Send, status: int, kind: bytes, text: str | bytes, headers: Headers) -> None:
    """One whole answer of a media type, with its length and these headers."""
    body = text.encode() if isinstance(text, str) else text
    sized = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
