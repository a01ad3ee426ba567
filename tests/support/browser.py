"""A headless Chromium, driven over its own DevTools protocol: just what looking at one page needs.

No driver package is a dependency; `websockets` comes with marimo. The browser and its profile end with the `with` block.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import PATIENCE, wait_until

_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The browser on PATH, or None."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Page:
    """One page: evaluate expressions in it, wait for them, take its picture.

    Attributes:
        requested: URLs that the page has asked for.
        failures: Exceptions thrown in the page.
        complaints: What the browser says of the page: refused loads, broken policies, errors on the console.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.requested: list[str] = []
        self.failures: list[str] = []
        self.complaints: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and give its result; events on the way are noted."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message["method"] == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.failures.append(json.dumps(message["params"]["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded":
            entry = message["params"]["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}".rstrip())
        elif message["method"] == "Runtime.consoleAPICalled":
            values = (each.get("value", each.get("description", "")) for each in message["params"]["args"])
            self.complaints.append(" ".join(map(str, values)))

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression is true; give its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, (
                f"not within {seconds} s: {expression}\n{self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def open(self, url: str) -> None:
        """Go to a URL."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=url)

    def press(self, key: str) -> None:
        """Press a key, as a person does: the page and what has the focus in it hear of it."""
        code = {"Escape": 27, "Enter": 13, "Tab": 9}.get(key, ord(key[0].upper()))
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def type(self, text: str) -> None:
        """Put text into what has the focus."""
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Set the size of the window and the colour scheme that the reader prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Write a PNG of what the window shows."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def open_tab(profile: Path, page: Page) -> Iterator[Page]:
    """Another tab of the browser with this profile, of which `page` is one; it has the same cookies."""
    target = page.send("Target.createTarget", url="about:blank")["targetId"]
    port = (profile / "DevToolsActivePort").read_text().split("\n", 1)[0]
    with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None, open_timeout=PATIENCE) as connection:
        yield Page(connection)


@contextmanager
def open_browser(executable: str, profile: Path) -> Iterator[Page]:
    """Start a browser with a fresh profile and give its one page; the browser is gone afterwards."""
    command = [executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_page_url(profile, process), max_size=None, open_timeout=PATIENCE) as connection:
                page = Page(connection)
                yield page
        finally:
            process.terminate()
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _page_url(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The socket of the page; the browser writes its port into the profile."""
    port_file = profile / "DevToolsActivePort"

    def has_port() -> bool:
        assert process.poll() is None, "the browser ended at once"
        return port_file.exists() and "\n" in port_file.read_text()

    wait_until(has_port, lambda: "the browser did not open its port")
    port = port_file.read_text().split("\n", 1)[0]
    with urlopen(Request(f"http://127.0.0.1:{port}/json/list"), timeout=PATIENCE) as answer:
        return next(target["webSocketDebuggerUrl"] for target in json.load(answer) if target["type"] == "page")
