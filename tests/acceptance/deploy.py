"""Start what `deploy/compose.yaml` starts, by its own commands on this machine: setup, code location, web server, daemon.

    python tests/acceptance/deploy.py

PostgreSQL is the embedded one; of the commands nothing is changed but ports and the folder of the workspace file. Holds if the setup ends,
the page has every asset of the code location, the daemon is alive, and `refold doctor` finds nothing that failed, as the role of the services.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipelines.store import EmbeddedServer  # noqa: E402 -- after the path
from tests.support.deploy import FOLDER, SERVICES  # noqa: E402

SECONDS = 240.0
QUERY = "{ repositoriesOrError { __typename ... on RepositoryConnection { nodes { location { name } assetNodes { assetKey { path } } } } } }"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run(home: Path, stack: ExitStack) -> None:
    """All of it; raises where something does not hold."""
    server = stack.enter_context(EmbeddedServer(home))
    ports = {"3000": str(free_port()), "4000": str(free_port())}
    config = home / "config"
    config.mkdir()
    for name in ("workspace.yaml", "roles.sql"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        (config / name).write_text(text.replace("port: 4000", f"port: {ports['4000']}"), encoding="utf-8")

    def here(word: str) -> str:
        return ports.get(word, word.replace("/etc/refold", str(config)).replace("0.0.0.0", "127.0.0.1"))

    def environment(name: str) -> dict[str, str]:
        user = re.match(r"postgresql://(\w+)@", SERVICES[name]["environment"]["REFOLD_DSN"])[1]
        dsn = server.dsn if user == "postgres" else server.dsn.replace("refold@", f"{user}@", 1)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("REFOLD_")}
        named = {"REFOLD_HOME": str(home), "REFOLD_DSN": dsn, "DAGSTER_HOME": str(home / "dagster")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, **named, "PATH": path, "REFOLD_DB_PASSWORD": "x", "DAGSTER_DISABLE_TELEMETRY": "1"}

    def command(name: str) -> list[str]:
        return [here(word) for word in SERVICES[name]["command"]]

    subprocess.run(command("setup"), env=environment("setup"), cwd=ROOT, check=True)
    log = stack.enter_context((home / "log").open("wb"))
    for name in ("code", "webserver", "daemon"):
        started = subprocess.Popen(command(name), env=environment(name), cwd=ROOT, stdout=log, stderr=log)
        stack.callback(started.wait, 30)
        stack.callback(started.terminate)
        if name == "code":
            wait_for([here(word) for word in SERVICES[name]["healthcheck"]["test"][1:]], environment(name))
    print(f"{len(load_assets(ports['3000']))} assets in the page")
    wait_for(SERVICES["daemon"]["healthcheck"]["test"][1:], environment("daemon"))
    doctor = subprocess.run(
        ["refold", "doctor", "--json"], env=environment("code"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    print(f"doctor: {json.loads(doctor.stdout)['state']}")


def wait_for(command: list[str], env: dict[str, str]) -> None:
    """Wait until a check ends well."""
    deadline = time.monotonic() + SECONDS
    while subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(f"{command} does not end well")
        time.sleep(1)


def load_assets(port: str) -> set[tuple[str, ...]]:
    """The assets that the page has of the code location."""
    deadline = time.monotonic() + SECONDS
    request = Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": QUERY}).encode(), {"Content-Type": "application/json"}
    )
    while time.monotonic() < deadline:
        try:
            with urlopen(request, timeout=60) as answer:
                nodes = json.load(answer)["data"]["repositoriesOrError"].get("nodes", [])
        except OSError:
            nodes = []
        if nodes:
            (node,) = nodes
            assert node["location"]["name"] == "refold"
            return {tuple(each["assetKey"]["path"]) for each in node["assetNodes"]}
        time.sleep(1)
    raise SystemExit("the page has no code location")


def main() -> None:
    """Run it in a folder that goes."""
    with tempfile.TemporaryDirectory(prefix="refold-deploy-") as folder, ExitStack() as stack:
        home = Path(folder)
        try:
            run(home, stack)
        except BaseException:
            sys.stderr.write((home / "log").read_text(encoding="utf-8")[-5000:] if (home / "log").exists() else "")
            raise
    print("holds")


if __name__ == "__main__":
    main()
