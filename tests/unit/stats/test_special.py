"""The functions of estimates are SciPy's own, and their package stays what it is for whoever imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import scipy.special

from pipelines.stats import special

ROOT = Path(special.__file__).parents[2]
ALONE = """
import sys, threading
from pipelines.stats import special
assert "scipy.special" not in sys.modules and "scipy.special._basic" not in sys.modules
import scipy.special as package
assert all(getattr(package, name) is getattr(special, name) for name in special.__all__)
assert package.comb(5, 2) == 10 and package.logsumexp([0.0]) == 0.0
from scipy.stats import norm
assert norm.ppf(0.975) == special.ndtri(0.975)
"""
BESIDE = """
import sys, threading
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
from pipelines.stats import special
assert sys.modules["scipy.special"].ndtri is special.ndtri
stop.set()
"""


def test_they_are_scipys_own():
    """Not functions like them."""
    assert all(getattr(scipy.special, name) is getattr(special, name) for name in special.__all__)


def test_the_rest_of_the_package_is_not_loaded_and_is_whole_when_it_is():
    """A process that estimates loads the functions alone; a user's metric that imports SciPy gets all of it."""
    subprocess.run([sys.executable, "-c", ALONE], check=True, cwd=ROOT)


def test_no_other_thread_sees_the_package_in_parts():
    """Where another thread could import it meanwhile, it is imported as usual."""
    subprocess.run([sys.executable, "-c", BESIDE], check=True, cwd=ROOT)
