"""What a process of the command line begins without."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.startup import importing

ROOT = Path(__file__).resolve().parents[2]
_BEGUN = """
import gc, os
from pipelines.startup import begin
begin()
import numpy
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"), gc.get_threshold()[0])
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: NumPy starts no threads anyhow")
@pytest.mark.parametrize(("chosen", "threads"), [(None, "1"), ("2", "2")])
def test_numpy_starts_one_thread_unless_somebody_chose(chosen, threads):
    """NumPy has no threads of its own where nobody asked for them, and no child of the process hears of that."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if chosen is None else {"OPENBLAS_NUM_THREADS": chosen}
    command = [sys.executable, "-c", _BEGUN]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [threads, str(chosen), "5000"]


def test_arrow_loads_no_masked_arrays_and_knows_one_that_is_there():
    """`numpy.ma` is loaded by who asks for it, however: then a masked array is one, with its missing values."""
    code = """
import gc, sys
from pipelines.startup import begin
begin()
import numpy as np
import pyarrow as pa
assert not isinstance(np.arange(2), np.ma.MaskedArray) and not issubclass(np.ndarray, np.ma.MaskedArray)
assert pa.array(np.arange(2)).to_pylist() == [0, 1]
assert "numpy.ma" not in sys.modules
masked, kind = ASKED
assert "numpy.ma" in sys.modules
assert isinstance(masked, np.ma.MaskedArray) and isinstance(masked, kind) and issubclass(type(masked), kind)
assert pa.array(masked).to_pylist() == [1, None]
"""
    for asked in (
        "np.ma.masked_array([1, 2], [False, True]), np.ma.MaskedArray",
        "np.ma.MaskedArray([1, 2], [False, True]), np.ma.MaskedArray",
        "(kind := np.ma.MaskedArray)([1, 2], [False, True]), kind",
        "(kind := np.ma.MaskedArray) and type('Own', (), {}) and __import__('types').new_class('Own', (kind,))([1, 2], [False, True]), kind",
    ):
        done = [sys.executable, "-W", "error", "-c", code.replace("ASKED", asked)]
        subprocess.run(done, cwd=ROOT, check=True)


def test_parts_of_numpy_are_loaded_when_they_are_used():
    """SciPy lists NumPy's names without its compiler and its tests; who asks for those has them."""
    code = """
import sys
from pipelines.startup import begin
begin()
import scipy.special
assert "unittest" not in sys.modules and "numpy.f2py.crackfortran" not in sys.modules
import numpy as np
np.testing.assert_array_equal([1], [1])
from numpy import f2py, testing
assert f2py.crackfortran and testing is np.testing and "unittest" in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


_DEFERRED = """
import sys
from pipelines import startup
startup.begin()
with startup.importing():
    import assets.runs
assert not {"alembic.util", "structlog.dev", "mako", "rich"} & set(sys.modules)
ASKED
assert {"mako" if found.__module__.startswith("alembic") else "structlog.dev"} <= set(sys.modules)
assert found is getattr(sys.modules[found.__module__], found.__name__)
"""


@pytest.mark.parametrize(
    "asked",
    [
        "import alembic.op; from alembic.script import ScriptDirectory as found; assert sys.modules['alembic'].op is alembic.op",
        "import alembic; from alembic import util; found = alembic.util.CommandError",
        "from dagster._core.storage.sql import Config; Config('alembic.ini'); from alembic.config import Config as found",
        "import structlog; found = structlog.get_logger",
        "from dagster._core.definitions.freshness_evaluator import logger; logger.bind; from structlog import get_logger as found",
    ],
)
def test_what_dagster_loads_and_a_run_does_not_use_is_loaded_when_it_is_used(asked):
    """Migrations and the log of services: a run has neither; who asks for them, in whatever way, has them as they are."""
    code = _DEFERRED.replace("ASKED", asked)
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_parts_of_dagster_that_no_run_has_are_loaded_when_they_are_used():
    """Components, and paths on networks: who asks for them has them as they are, and nothing else that was left for later."""
    code = """
import sys
from pipelines import startup
startup.begin()
with startup.importing():
    import assets.runs
    from upath import UPath as later
unused = {"dagster.components.core.tree", "dagster.components.resolved.base", "upath.core", "fsspec", "numpy.f2py.crackfortran"}
assert not {name for name in unused if "__file__" in vars(sys.modules.get(name, object))}
import dagster as dg
from dagster.components.component.component import Component
assert isinstance(Component, type) and dg.Component.build_defs is Component.build_defs
assert dg.definitions(lambda: dg.Definitions())().assets is None
assert later("/tmp").name == "tmp" and "fsspec" in sys.modules
assert "numpy.f2py.crackfortran" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_imports_are_not_looked_through_for_garbage():
    """Nobody looks for garbage while something large is imported; afterwards it is as before."""
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"), importing():
        raise ValueError("broken")
    assert gc.isenabled()


_ENDING = """
import atexit, sys, tempfile, threading, time
from pipelines.startup import end
folder = tempfile.TemporaryDirectory()
class Kept:
    def __del__(self): print("freed")
kept = Kept()
kept.itself = kept
def work():
    time.sleep(0.2)
    print("thread")
threading.Thread(target=work).start()
atexit.register(print, "told")
print(folder.name, end=" ")
end(3)
"""


def test_a_process_ends_when_threads_and_those_to_be_told_are_done():
    """Threads end, functions of atexit run, streams are flushed, folders are removed; objects are left to the system."""
    done = subprocess.run([sys.executable, "-c", _ENDING], cwd=ROOT, capture_output=True, text=True, check=False)
    folder, *said = done.stdout.split()
    assert (done.returncode, said, done.stderr) == (3, ["thread", "told"], "")
    assert not Path(folder).exists()


def test_a_process_that_cannot_say_all_says_that():
    """What cannot be written at the end is told as Python tells it: exit code 120."""
    code = "from pipelines.startup import end\nprint('lost', end='')\nend(0)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, b"No space left" in done.stderr) == (120, True)
