"""The library does not know Dagster: `pipelines` works where Dagster is not installed, `assets` is the only bridge."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pipelines

ROOT = Path(__file__).resolve().parents[2]

# An import of Dagster, of whatever part, is refused as if it were not installed.
REFUSE = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dagster", "dagster_shared", "dagster_webserver", "dagster_graphql", "assets"}:
            raise ModuleNotFoundError(f"{name} is refused here")

sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    found = pkgutil.walk_packages(pipelines.__path__, "pipelines.")
    return ["pipelines", *(module.name for module in found)]


def test_every_module_of_the_library_imports_without_dagster():
    """No module under `pipelines` needs Dagster, or `assets`, at import: not the command line either."""
    names = modules()
    assert "pipelines.store.connect" in names
    command = [sys.executable, "-c", REFUSE, *names]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_code_location_reads_no_environment(tmp_path):
    """Nothing happens at import of `assets.definitions`: a nonsense environment is not even looked at."""
    environment = {"REFOLD_MEMORY": "nonsense", "REFOLD_HOME": str(tmp_path / "home"), "PATH": ""}
    command = [sys.executable, "-c", "import assets.definitions"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "home").exists()


PRIVATE = {
    "dagster._core.code_pointer.ModuleCodePointer",
    "dagster._core.definitions.assets.graph.base_asset_graph.BaseAssetGraph",
    "dagster._core.definitions.job_base.InMemoryJob",
    "dagster._core.definitions.reconstruct.ReconstructableRepository",
    "dagster._core.definitions.repository_definition.SINGLETON_REPOSITORY_NAME",
    "dagster._core.definitions.unresolved_asset_job_definition.UnresolvedAssetJobDefinition",
    "dagster._core.errors.DagsterAssetCheckFailedError",
    "dagster._core.errors.DagsterExecutionInterruptedError",
    "dagster._core.execution.api.execute_run",
    "dagster._core.instance.ref.InstanceRef",
    "dagster._core.origin.JobPythonOrigin",
    "dagster._core.remote_origin.ManagedGrpcPythonEnvCodeLocationOrigin",
    "dagster._core.remote_origin.RemoteJobOrigin",
    "dagster._core.remote_origin.RemoteRepositoryOrigin",
    "dagster._core.storage.base_storage.DagsterStorage",
    "dagster._core.storage.dagster_run.IN_PROGRESS_RUN_STATUSES",
    "dagster._core.storage.event_log.SqlEventLogStorageMetadata",
    "dagster._core.storage.event_log.SqliteEventLogStorage",
    "dagster._core.storage.runs.SqliteRunStorage",
    "dagster._core.storage.runs.migration.OPTIONAL_DATA_MIGRATIONS",
    "dagster._core.storage.runs.migration.REQUIRED_DATA_MIGRATIONS",
    "dagster._core.storage.runs.schema.RunStorageSqlMetadata",
    "dagster._core.storage.schedules.SqliteScheduleStorage",
    "dagster._core.storage.schedules.migration.OPTIONAL_SCHEDULE_DATA_MIGRATIONS",
    "dagster._core.storage.schedules.migration.REQUIRED_SCHEDULE_DATA_MIGRATIONS",
    "dagster._core.storage.schedules.schema.ScheduleStorageSqlMetadata",
    "dagster._core.storage.sql.create_engine",
    "dagster._core.storage.sqlite.SQLITE_BUSY_TIMEOUT_SECONDS",
    "dagster._core.storage.sqlite.create_db_conn_string",
    "dagster._core.storage.sqlite_storage.DagsterSqliteStorage",
    "dagster._core.storage.tags.ASSET_PARTITION_RANGE_END_TAG",
    "dagster._core.storage.tags.ASSET_PARTITION_RANGE_START_TAG",
    "dagster._core.storage.tags.PARTITION_NAME_TAG",
    "dagster._core.types.loadable_target_origin.LoadableTargetOrigin",
    "dagster._core.utils.make_new_run_id",
    "dagster._core.workspace.context.WorkspaceProcessContext",
    "dagster._core.workspace.load_target.WorkspaceFileTarget",
}
"""What is used of Dagster beside its public API; each may move with a minor release."""


def private_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("dagster._")}
    return found


def test_private_names_of_dagster_are_in_one_module():
    """`assets.internals` is the one module that imports what is not public, and all of it is named here."""
    found = {path.name: names for path in (ROOT / "assets").rglob("*.py") if (names := private_imports(path))}
    assert found == {"internals.py": PRIVATE}
