"""Every name of Dagster that is not of its public API: what it has no public form of. A test lists them.

Each can move with a minor release, so the version is pinned to one. What is not needed by every run is imported when it is
called for.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import dagster
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError
from dagster._core.execution.api import execute_run
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorageMetadata, SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.runs.migration import OPTIONAL_DATA_MIGRATIONS, REQUIRED_DATA_MIGRATIONS
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.schedules.migration import (
    OPTIONAL_SCHEDULE_DATA_MIGRATIONS,
    REQUIRED_SCHEDULE_DATA_MIGRATIONS,
)
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "IN_PROGRESS_RUN_STATUSES",
    "OPTIONAL_DATA_MIGRATIONS",
    "OPTIONAL_SCHEDULE_DATA_MIGRATIONS",
    "PARTITION_NAME_TAG",
    "REQUIRED_DATA_MIGRATIONS",
    "REQUIRED_SCHEDULE_DATA_MIGRATIONS",
    "SINGLETON_REPOSITORY_NAME",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "BaseAssetGraph",
    "DagsterAssetCheckFailedError",
    "DagsterExecutionInterruptedError",
    "DagsterSqliteStorage",
    "DagsterStorage",
    "InMemoryJob",
    "InstanceRef",
    "JobPythonOrigin",
    "LoadableTargetOrigin",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "ModuleCodePointer",
    "ReconstructableRepository",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RunStorageSqlMetadata",
    "ScheduleStorageSqlMetadata",
    "SqlEventLogStorageMetadata",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "SqliteScheduleStorage",
    "UnresolvedAssetJobDefinition",
    "create_db_conn_string",
    "create_engine",
    "execute_run",
    "make_new_run_id",
    "newest_revision",
    "open_workspace",
]

_REVISION = re.compile(r'^(revision|down_revision) = "(\w+)"', re.MULTILINE)


@cache
def newest_revision() -> str:
    """The revision of Dagster's databases of which those are that are made now; all of them have the same migrations.

    It is the one that no other follows. Their files are read, not run, as Alembic would all ninety.
    """
    folder = Path(dagster.__file__).parent / "_core" / "storage" / "alembic" / "versions"
    found = [match for path in folder.glob("*.py") for match in _REVISION.findall(path.read_text(encoding="utf-8"))]
    followed = {revision for kind, revision in found if kind == "down_revision"}
    (newest,) = (revision for kind, revision in found if kind == "revision" and revision not in followed)
    return str(newest)


def open_workspace(instance: Any, version: str, path: str) -> AbstractContextManager[Any]:
    """The code locations that a workspace file names, loaded; for the web page alone."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    return WorkspaceProcessContext(instance, version=version, workspace_load_target=WorkspaceFileTarget([path]))
