"""What is in `deploy/`: both installations run the same commands with the same variables, without rights and without secrets; the SQL runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import yaml

from assets.instance import prepare
from assets.runs import ATTRIBUTE, LOCATION, MODULE
from pipelines.doctor.examine import examine
from pipelines.settings import Settings
from pipelines.store import AppendOnly, PermissionDenied, Store, connect
from pipelines.store.psql import run_psql
from pipelines.store.sqlstate import typed_errors
from tests.support.deploy import COMPOSE, FOLDER, SERVICES, containers, pods

ROOT = FOLDER.parent
pytestmark = pytest.mark.quick
_REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")


def variables(container: dict) -> dict[str, dict]:
    """A container's variables by name."""
    return {each["name"]: each for each in container["env"]}


def test_both_run_the_same():
    """Commands, and the variables that say where things are; the code location is the one that runs are recorded with."""
    of_pods = containers()
    for name in ("code", "webserver", "daemon"):
        assert SERVICES[name]["command"] == of_pods[name]["command"]
        assert SERVICES[name]["environment"] == SERVICES["code"]["environment"]
        assert of_pods[name]["env"] == of_pods["code"]["env"]
    assert set(variables(of_pods["code"])) <= set(SERVICES["code"]["environment"])
    before, _, after = SERVICES["setup"]["command"][-1].rpartition(" && ")
    assert before == of_pods["setup"]["command"][-1]
    assert after == " ".join(of_pods["home"]["command"])
    command = SERVICES["code"]["command"]
    named = dict(zip(command[3::2], command[4::2], strict=True))
    assert (named["-m"], named["-a"], named["--location-name"]) == (MODULE, ATTRIBUTE, LOCATION)
    (found,) = yaml.safe_load((FOLDER / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    server = {"host": named["-h"], "port": int(named["-p"]), "location_name": LOCATION}
    assert found == {"grpc_server": server}


def test_every_variable_is_one_that_is_read():
    """Of Refold's, each is a setting."""
    told = set(re.findall(r"REFOLD_\w+", (ROOT / "pipelines" / "settings.py").read_text(encoding="utf-8")))
    told |= {"REFOLD_DB_PASSWORD"}  # of deploy/roles.sql
    used = {name for each in SERVICES.values() for name in each["environment"]}
    used |= {name for each in containers().values() for name in variables(each)}
    assert {name for name in used if name.startswith("REFOLD_")} <= told
    home = SERVICES["code"]["environment"]
    assert home["DAGSTER_HOME"] == f"{home['REFOLD_HOME']}/dagster" == str(Path(home["REFOLD_HOME"]) / "dagster")


def test_no_secret_stands_in_a_file():
    """Passwords and addresses that are secret come from the environment, which compose demands, or from a secret of the cluster."""
    for name, service in COMPOSE["services"].items():
        for variable, value in service["environment"].items():
            if "PASSWORD" in variable:
                assert _REQUIRED.fullmatch(value), (name, variable)
            assert not re.search(r"://[^/@\s]*:[^/@\s]*@", str(value)), "a connection string with a password"
    for container in containers().values():
        for variable, each in variables(container).items():
            if "PASSWORD" in variable or variable in ("REFOLD_DSN", "REFOLD_ALERT_WEBHOOK"):
                assert "secretKeyRef" in each["valueFrom"], variable
    roles = (FOLDER / "roles.sql").read_text(encoding="utf-8")
    assert re.findall(r"(?i)password\s+(\S+)", re.sub(r"(?m)^--.*$", "", roles)) == ["REFOLD_DB_PASSWORD", "%L"]


def test_nothing_has_rights_that_it_does_not_need():
    """An account without rights, root file systems that are read-only, no capability, no way to gain any; ports of this machine alone."""
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert all(service["user"] == "10001:10001" and "cap_add" not in service for service in SERVICES.values())
    for container in containers().values():
        rights = container["securityContext"]
        assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
        assert rights["capabilities"] == {"drop": ["ALL"]}
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert "hostNetwork" not in pod
    written = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in written
    assert "ENV" in written
    assert "PASSWORD" not in written


def test_volumes_that_are_mounted_are_there():
    """Each file that compose mounts is in the folder; each volume of a pod is declared."""
    for service in COMPOSE["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    for pod in pods():
        declared = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= declared


def test_the_setup_writes_what_dagster_needs(tmp_path):
    """The command before the servers makes the same settings as `refold ui` does."""
    command = [sys.executable, *containers()["home"]["command"][1:]]
    home = tmp_path / "home"
    env = {**os.environ, "REFOLD_HOME": str(home)}
    subprocess.run(command, check=True, cwd=ROOT, env=env, capture_output=True)
    made = (home / "dagster" / "dagster.yaml").read_text(encoding="utf-8")
    other = Settings(home=tmp_path / "other", dsn=None, lake=tmp_path / "other" / "lake")
    assert made == (prepare(other) / "dagster.yaml").read_text(encoding="utf-8")
    assert home.stat().st_mode & 0o077 == 0


def test_the_role_of_the_services(store: Store, store_settings: Settings, monkeypatch):
    """The SQL runs twice; the role may append and export, is no finding of the doctor's, and can change nothing that is written."""
    monkeypatch.setenv("REFOLD_DB_PASSWORD", 'it\'s "odd" \\ $x')
    arguments = ["-q", "-f", str(FOLDER / "roles.sql")]
    try:
        assert [run_psql(store.dsn, arguments) for _ in range(2)] == [0, 0]
        dsn = store.dsn.replace("refold@", "refold_app@", 1)
        found = {each.check: each for each in examine(replace(store_settings, dsn=dsn)).findings}
        assert found["role"].state == "ok", found["role"]
        assert {name for name, each in found.items() if each.state != "ok"} <= {"durability", "files"}
        with connect(dsn) as conn:
            Store(conn, dsn).make_month("2024-05")
            for statement in ("DELETE FROM refold.events", "DROP TABLE refold.events", "CREATE ROLE other"):
                with pytest.raises((PermissionDenied, AppendOnly)), typed_errors():
                    conn.execute(statement)
    finally:
        with psycopg.connect(store.dsn, autocommit=True) as admin:
            admin.execute(f'REVOKE ALL ON DATABASE "{admin.info.dbname}" FROM refold_app')
            admin.execute("DROP ROLE refold_app")
