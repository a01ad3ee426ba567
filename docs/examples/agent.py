"""An agent without any package, as a command: a JSON line a unit in, one out.

`candidate: {command: [python3, agent.py], protocol: lines, model: …}`.
"""

import json
import sys
from urllib.parse import quote
from urllib.request import Request, urlopen


def post(url, body):
    """What is answered to a JSON value; raises where it is refused."""
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return json.load(answer)


def run(unit):
    """Ask the model, and the recorded tools, until there is a final text."""
    messages = [*unit["messages"]]
    if unit["user"] is not None:
        messages.append({"role": "user", "content": unit["user"]})
    tools = {"tools": unit["tools"]} if unit["tools"] else {}
    while True:
        asked = {"model": unit["model"], "messages": messages, **tools}
        message = post(f"{unit['model_url']}/chat/completions", asked)["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            return message["content"]
        for call in message["tool_calls"]:
            url = f"{unit['tools_url']}/{quote(call['function']['name'], safe='')}"
            content = post(url, json.loads(call["function"]["arguments"] or "{}"))["content"]
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})


for line in sys.stdin:
    unit = json.loads(line)
    try:
        answer = {"text": run(unit)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"id": unit["id"], **answer}), flush=True)
