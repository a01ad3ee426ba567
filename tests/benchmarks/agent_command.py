"""A command under replay that does next to nothing: `answer` answers each unit at once, `ask` asks its model twice first.

It imports nothing but the standard library, as an agent in another language would.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from urllib.parse import urlsplit


def main(does: str) -> None:
    """Answer units until there are no more lines."""
    place = urlsplit(os.environ["OPENAI_BASE_URL"])
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    for line in sys.stdin:
        unit = json.loads(line)
        text = "done"
        for _ in range(2 if does == "ask" else 0):
            body = json.dumps({"model": unit["model"], "messages": unit["messages"]})
            connection.request("POST", f"{place.path}/chat/completions", body, {"Content-Type": "application/json"})
            text = json.load(connection.getresponse())["choices"][0]["message"]["content"]
        sys.stdout.write(json.dumps({"id": unit["id"], "text": text}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
