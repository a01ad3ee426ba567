"""The pages obey the person who has the token and nobody else: attacks as bytes, on the servers that the verbs start.

What a mutation would do is looked up afterwards, and the same mutation does it when it is asked for rightly.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from assets.instance import open_instance
from assets.partitions import EXPERIMENTS
from pipelines.errors import BadInputError
from pipelines.settings import Settings
from pipelines.web.server import listen, port_of
from tests.support.browser import find_chromium, open_browser
from tests.support.pages import Served, served
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
LOCATION = 'repositorySelector: {repositoryLocationName: "refold", repositoryName: "__repository__"}'
JSON = "Content-Type: application/json"


def mutation(key: str) -> str:
    """Work that is seen afterwards: another experiment among the partitions."""
    return (
        f'mutation {{ addDynamicPartition({LOCATION}, partitionsDefName: "{EXPERIMENTS.name}", partitionKey: "{key}")'
        " { __typename ... on UnauthorizedError { message } ... on PythonError { message } } }"
    )


def post(key: str) -> bytes:
    return json.dumps({"query": mutation(key)}).encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Settings:
    folder = tmp_path_factory.mktemp("guarded") / "home"
    return Settings(home=folder, dsn=None, lake=folder / "lake")


def environment(home: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return {**kept, "REFOLD_HOME": str(home.home), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def ui(home, tmp_path_factory) -> Iterator[Served]:
    """`refold ui`."""
    with served(["ui", "--port", "0"], environment(home), tmp_path_factory.mktemp("log") / "ui.log") as page:
        yield page


@pytest.fixture(scope="module")
def review(home, tmp_path_factory) -> Iterator[Served]:
    """`refold review`, on a port of its own choice."""
    log = tmp_path_factory.mktemp("log") / "review.log"
    with served(["review", "--headless", "--port", "0"], environment(home), log) as page:
        yield page


@pytest.fixture(params=["ui", "review"])
def page(request) -> Served:
    return request.getfixturevalue(request.param)


def partitions(home: Settings) -> list[str]:
    with open_instance(home) as instance:
        return sorted(instance.get_dynamic_partitions(EXPERIMENTS.name))


# What every page must refuse, whoever has the token: (name, first line, headers, Host).
PLACES = [
    ("rebound name", "GET /", [], "evil.example:{port}"),
    ("other port", "GET /", [], "127.0.0.1:1"),
    ("no port", "GET /", [], "127.0.0.1"),
    ("port in other digits", "GET /", [], "127.0.0.1:0{port}"),
    ("name that ends like ours", "GET /", [], "evil.localhost:{port}"),
    ("name that begins like ours", "GET /", [], "127.0.0.1.evil.example:{port}"),
    ("user in the host", "GET /", [], "127.0.0.1:{port}@evil.example"),
    ("all addresses", "GET /", [], "0.0.0.0:{port}"),
    ("empty host", "GET /", ["Host:"], None),
    ("no host", "GET /", [], None),
    ("two hosts", "GET /", ["Host: evil.example"], ""),
    ("two hosts, ours last", "GET /", ["Host: evil.example", "Host: 127.0.0.1:{port}"], None),
    ("a host forwarded, another asked", "GET /", ["X-Forwarded-Host: 127.0.0.1:{port}"], "evil.example"),
    ("a target of another server", "GET http://evil.example/", [], ""),
    ("a target of this server in full", "GET http://127.0.0.1:{port}/", [], ""),
    ("foreign origin", "GET /", ["Origin: http://evil.example"], ""),
    ("origin of another port", "GET /", ["Origin: http://127.0.0.1:1"], ""),
    ("origin with another scheme", "GET /", ["Origin: https://127.0.0.1:{port}"], ""),
    ("origin of a sandbox or a file", "GET /", ["Origin: null"], ""),
    ("empty origin", "GET /", ["Origin:"], ""),
    ("two origins", "GET /", ["Origin: http://127.0.0.1:{port}", "Origin: http://evil.example"], ""),
    ("picture of another page", "GET /", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"], ""),
    ("frame of a neighbour's page", "GET /", ["Sec-Fetch-Site: same-site", "Sec-Fetch-Dest: iframe"], ""),
    ("script of a neighbour's page", "GET /x.js", ["Sec-Fetch-Site: same-site", "Sec-Fetch-Dest: script"], ""),
    ("preflight", "OPTIONS /", ["Origin: http://evil.example", "Access-Control-Request-Method: POST"], ""),
    ("preflight of our own", "OPTIONS /", ["Origin: http://127.0.0.1:{port}"], ""),
    ("PUT", "PUT /", [JSON], ""),
    ("DELETE", "DELETE /", [], ""),
    ("TRACE", "TRACE /", [], ""),
    ("post in small letters", "post /", [JSON], ""),
    ("a method overridden", "GET /", ["X-HTTP-Method-Override: POST", "Origin: http://evil.example"], ""),
]


@pytest.mark.parametrize(("line", "headers", "host"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
def test_what_is_meant_for_another_server_or_comes_from_another_page_is_refused(page, line, headers, host):
    """The host must be ours with our port, the origin this page, the method one of three: the token changes nothing."""
    fill = lambda text: text.format(port=page.port) if text else text  # noqa: E731
    status, head, body = page.ask(fill(line), *map(fill, headers), host=fill(host))
    assert status in (400, 403, 405)
    assert "access-control-allow" not in head.lower()
    assert "<html" not in body.lower()
    assert page.token not in head + body


def test_http_1_0_needs_a_host_too(page):
    """An old client sends no Host and gets no answer; with Host and token it does."""
    known = f"Authorization: Bearer {page.token}\r\n"
    assert page.send(f"GET / HTTP/1.0\r\n{known}\r\n".encode())[0] == 403
    assert page.send(f"GET / HTTP/1.0\r\nHost: {page.host}\r\n{known}\r\n".encode())[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/graphql",
        "/server_info",
        "/favicon.ico",
        "/robots.txt",
        "/_next/static/x.js",
        "/logs/a/b.err",
        "/notebook?repoLocName=refold&path=x.ipynb",
        "/download_debug/x",
        "/runs",
        "/health",
        "/api/status",
        "/assets/index.js",
        "/%2e%2e/etc/passwd",
        "//127.0.0.1/",
        "/?token=",
        "/?token=x",
        "/?access_token=TOKEN",
        "/x;token=TOKEN",
        "/#token=TOKEN",
    ],
)
def test_without_the_token_no_path_answers(page, path):
    """Page, files, downloads, logs: 403 and a sentence, or for what is no target of HTTP 400."""
    status, head, body = page.ask(f"GET {path}".replace("TOKEN", page.token), is_known=False)
    assert status in (400, 403)
    assert "set-cookie" not in head.lower()
    if status == 403:
        assert body == "refold: open the address with the token that was printed when this page was started\n"
    assert page.ask("POST /graphql", JSON, body=post("none"), is_known=False)[0] == 403


@pytest.mark.parametrize("wrong", ["Bearer x", "Basic eDp4", "TOKEN", "Bearer", "Bearer TOKENx", "Token TOKEN"])
def test_a_wrong_token_is_none(page, wrong):
    """Another token, another scheme, none."""
    assert page.ask("GET /", "Authorization: " + wrong.replace("TOKEN", page.token), is_known=False)[0] == 403
    assert page.ask("GET /", f"Cookie: refold_{page.port}={page.token}", is_known=False)[0] == 403


def test_the_token_is_changed_for_a_cookie(page):
    """The printed address leads on to the page without the token; the cookie is for this page alone and opens it."""
    status, head, body = page.ask(f"GET /runs?token={page.token}&a=1%262", "Accept: text/html", is_known=False)
    assert status == 200
    (cookie,) = (line[12:] for line in head.splitlines() if line.lower().startswith("set-cookie: "))
    assert {part.strip() for part in cookie.split(";")[1:]} == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert page.token not in head + body
    assert 'content="0;url=/runs?a=1%262"' in body
    assert "referrer-policy: no-referrer" in head.lower()
    value = cookie.split(";")[0]
    assert page.ask("GET /", f"Cookie: other=1; {value}", is_known=False)[0] == 200
    assert page.ask("GET /", f"Cookie: {value}x", is_known=False)[0] == 403
    assert page.ask("GET /", "Origin: http://evil.example", f"Cookie: {value}", is_known=False)[0] == 403


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "/%22%3E%3Cscript%3E", '/"><script>x'])
def test_the_way_in_leads_nowhere_else(page, path):
    """What stands in the path neither names another host nor leaves the attribute."""
    status, _, body = page.ask(f"GET {path}?token={page.token}", "Accept: text/html", is_known=False)
    assert status in (200, 400)
    assert "url=//" not in body
    assert "url=/\\" not in body
    assert "<script" not in body


MUTATING = quote(mutation("taken"))
WORK = [
    ("GET", f"GET /graphql?query={MUTATING}", [], b""),
    ("GET as a page", f"GET /graphql?query={MUTATING}", ["Accept: text/html"], b""),
    ("GET in JSON", f"GET /graphql?query={MUTATING}", [JSON, "Accept: application/json"], post("taken")),
    ("GET of an encoded path", f"GET /%67raphql?query={MUTATING}", [], b""),
    ("HEAD", f"HEAD /graphql?query={MUTATING}", [], b""),
    ("plain text", "POST /graphql", ["Content-Type: text/plain"], post("taken")),
    ("plain text that says JSON", "POST /graphql", ["Content-Type: text/plain; application/json"], post("taken")),
    ("no type", "POST /graphql", [], post("taken")),
    ("two types", "POST /graphql", [JSON, "Content-Type: text/plain"], post("taken")),
    ("GraphQL", "POST /graphql", ["Content-Type: application/graphql"], mutation("taken").encode()),
    ("query in the address", f"POST /graphql?query={MUTATING}", ["Content-Type: text/plain"], b"x"),
    (
        "form",
        "POST /graphql",
        ["Content-Type: application/x-www-form-urlencoded"],
        f"query={MUTATING}".encode(),
    ),
    (
        "parts",
        "POST /graphql",
        ["Content-Type: multipart/form-data; boundary=b"],
        f'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n{mutation("taken")}\r\n--b--\r\n'.encode(),
    ),
    ("foreign origin", "POST /graphql", [JSON, "Origin: http://evil.example"], post("taken")),
    ("null origin", "POST /graphql", [JSON, "Origin: null"], post("taken")),
    ("fetched by another page", "POST /graphql", [JSON, "Sec-Fetch-Site: cross-site"], post("taken")),
    ("method in a field", f"GET /graphql?_method=POST&query={MUTATING}", [], b""),
    ("asset reported", "POST /report_asset_materialization/refold/events?partition=2026-01", [], b""),
]


@pytest.mark.parametrize(("line", "headers", "body"), [case[1:] for case in WORK], ids=[case[0] for case in WORK])
def test_no_work_is_done_but_by_a_post_of_json(ui, line, headers, body):
    """Not even for who has the token: a page that the person looks at could have sent any of these with the cookie."""
    status, _, answer = ui.ask(line, *headers, body=body)
    assert status in (403, 405, 415)
    assert '"data"' not in answer


def test_a_rebound_name_and_a_batch_do_no_work(ui):
    """Another host is refused, JSON or not; a list of operations is no operation."""
    assert ui.ask("POST /graphql", JSON, body=post("taken"), host=f"evil.example:{ui.port}")[0] == 403
    assert ui.ask("POST /graphql", JSON, body=b"[" + post("taken") + b"]")[0] >= 400


def test_work_rightly_asked_is_done_and_nothing_else_was(ui, home):
    """The mutation that the attacks carried does its work when the page itself posts it; of theirs nothing is there."""
    origins = [f"Origin: http://{host}:{ui.port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    for number, origin in enumerate(origins):
        host = origin.removeprefix("Origin: http://")
        status, _, body = ui.ask("POST /graphql", JSON, origin, body=post(f"mine-{number}"), host=host)
        assert (status, json.loads(body)["data"]["addDynamicPartition"]["__typename"]) == (
            200,
            "AddDynamicPartitionSuccess",
        )
    assert partitions(home) == ["mine-0", "mine-1", "mine-2"]


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("", {"Origin": "http://evil.example"}),
        ("", {"Origin": "null"}),
        ("", {"Origin": "http://127.0.0.1:1"}),
        ("evil.example", {}),
        ("", {"Authorization": "Bearer x"}),
        ("", {"Authorization": ""}),
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/ws?session_id=s"])
def test_a_websocket_is_opened_by_the_page_alone(page, path, host, more):
    """Websockets know no rule of one origin: the server asks for host, origin and token before it opens one."""
    headers = {"Authorization": f"Bearer {page.token}", **more}
    place = f"{host or '127.0.0.1'}:{page.port}"
    with (
        socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE) as raw,
        pytest.raises(InvalidStatus) as refused,
    ):
        connect(f"ws://{place}{path}", sock=raw, additional_headers=headers, subprotocols=["graphql-ws"]).close()
    assert refused.value.response.status_code == 403


def test_a_subscription_answers_the_page_and_runs_no_mutation(ui, home):
    """With the token a websocket is open; a mutation over it is an error and does nothing."""
    headers = {"Authorization": f"Bearer {ui.token}", "Origin": f"http://{ui.host}"}
    with connect(f"ws://{ui.host}/graphql", additional_headers=headers, subprotocols=["graphql-ws"]) as socket_:
        socket_.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket_.recv(timeout=PATIENCE))["type"] == "connection_ack"
        payload = {"query": mutation("by-socket")}
        socket_.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        assert json.loads(socket_.recv(timeout=PATIENCE))["type"] == "error"
    assert "by-socket" not in partitions(home)


def test_the_token_is_in_no_file_argument_or_environment(ui, review, home):
    """Neither the processes of the page nor what they write hold it: not run records, not logs, not arguments."""
    tokens = [ui.token.encode(), review.token.encode()]
    for path in home.home.rglob("*"):
        if path.is_file():
            assert not any(token in path.read_bytes() for token in tokens), path
    seen = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        seen += str(home.home).encode() in said
        assert not any(token in said for token in tokens), folder
    assert seen >= 4  # the verbs, the web server, the daemon


@pytest.mark.quick
def test_the_usual_port_is_left_when_it_is_taken():
    """Without --port the usual one or a free one; with it that one, or a sentence."""
    with listen(0, 3000) as taken, listen(None, port_of(taken)) as other:
        assert port_of(other) not in (0, port_of(taken))
        with pytest.raises(BadInputError, match=f"port {port_of(taken)} of 127.0.0.1 cannot be used"):
            listen(port_of(taken), 3000)
        assert other.getsockname()[0] == "127.0.0.1"


def test_the_pages_work_in_a_browser(page, request, tmp_path):
    """The printed address opens the page, its files and its websocket; the token is gone from the address bar."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium on PATH")
    wanted = {"ui": "Deployment", "review": "run refold demo"}[request.node.callspec.params["page"]]
    with open_browser(chromium, tmp_path / "profile") as browser:
        browser.resize(1280, 900)
        browser.open(page.url)
        browser.wait(f"document.body && document.body.innerText.includes({wanted!r})")
        assert page.token not in browser.evaluate("location.href + document.referrer")
        assert browser.evaluate("document.cookie") == ""
        # A manifest is for installing a page as an app; browsers fetch it without the cookie.
        refused = [text for text in browser.complaints if re.search(r"\b(403|405|415)\b", text)]
        assert [text for text in refused if "manifest" not in text.lower()] == []
        browser.picture(tmp_path / "page.png")
